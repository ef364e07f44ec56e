//! Where the program under test and its image lie, and that they are what the sources say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use crate::installation::repository;

/// Another program to test than the one that cargo built, such as a release.
const OVERRIDE: &str = "CATALYST_BINARY";

/// Another archive of the image than the one that `make image` made.
const OVERRIDE_IMAGE: &str = "CATALYST_IMAGE";

/// The `catalyst` beside this test, in cargo's folder of the same profile.
///
/// Cargo tells the path of a program only to tests of its own package. It builds the program for no others, so one that
/// is missing or out of date is an error: a test of yesterday's program proves nothing.
pub fn catalyst() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(find);
    &PROGRAM
}

/// The archive of the image, which `make image` makes of the same sources as [`catalyst()`].
pub fn image() -> PathBuf {
    if let Some(path) = std::env::var_os(OVERRIDE_IMAGE) {
        return path.into();
    }
    let archive = repository("target/image/catalyst.tar");
    must_be_current(&archive, &profile().join("catalyst.d"), "make image");
    archive
}

/// What `catalyst render -f - -o json` prints for a file: manifests, and verdicts.
pub fn catalyst_render(yaml: &str) -> (String, String) {
    let mut child = Command::new(catalyst())
        .args(["render", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("catalyst runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It reads to the end before it prints, so that neither waits for the other.
    stdin.write_all(yaml.as_bytes()).expect("it reads");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(done.stdout), text(done.stderr))
}

fn find() -> PathBuf {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return path.into();
    }
    let program = profile().join("catalyst");
    must_be_current(&program, &program.with_extension("d"), "cargo build -p catalyst");
    program
}

/// Cargo's folder of the profile that this test was built with.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(2).expect("cargo's folder").to_owned()
}

/// Panics with what to run, if something is missing or older than its sources. Cargo writes these beside the program:
/// `<program>: <source> <source> ...`. What is generated in cargo's own folder is none: cargo may write it again, the same,
/// and what it is made from is in the list too.
fn must_be_current(made: &Path, record: &Path, by: &str) {
    let record = fs::read_to_string(record).unwrap_or_default();
    let sources = record.split_once(": ").map_or("", |(_, sources)| sources);
    let at = modified(made);
    let mut written = sources.split_whitespace().map(Path::new);
    let newer = written.find(|source| !source.starts_with(profile()) && modified(source) > at);
    let problem = match (at, newer) {
        (None, _) => "is missing".to_owned(),
        (_, Some(source)) => format!("is older than {}", source.display()),
        _ => return,
    };
    panic!("{} {problem}; run {by} first", made.display());
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
