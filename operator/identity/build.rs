//! Compiles Sentry's protobufs, by a compiler that is a crate.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::error::Error;

const FILES: &str = "../../schemas/proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FILES}");
    let files = protox::compile(["dapr/proto/sentry/v1/sentry.proto"], [FILES])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
