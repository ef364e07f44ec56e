//! Compiles the protobufs of Dapr's Operator API, by a compiler that is a crate.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::error::Error;

const FILES: &str = "../schemas/proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FILES}");
    let files = protox::compile(["dapr/proto/operator/v1/operator.proto"], [FILES])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // One object goes to thousands of servers: its bytes are shared, not copied.
        .bytes(".")
        .codec_path("crate::config_stream::codec::Lean")
        .compile_fds(files)?;
    Ok(())
}
