//! `catalyst` in the build of `make mutants`, by a name of its own, so that it never stands in for the product.

use std::process::ExitCode;

fn main() -> ExitCode {
    catalyst::cli::main()
}
