//! Any text is planned or refused: it ends in no panic, and asks for no more memory at once than `make fuzz` gives it.

#![no_main]

use catalyst::cli::render::snapshot;
use libfuzzer_sys::fuzz_target;

const CONCERNS: [&str; 6] = ["namespace", "network", "egress", "identity", "secret", "region"];

fuzz_target!(|text: &str| {
    // What is shown of one concern at a time, each as often as the others.
    let _ = snapshot(text, CONCERNS[text.len() % CONCERNS.len()]);
});
