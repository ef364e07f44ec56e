//! Calls the system's own tools, and says what they said when they fail.

use std::process::Command;

use crate::error::{Doing, Error, Result};

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

/// As [`run`], and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().doing("running", command.get_program())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    Err(Error::Tool {
        command: words.join(" "),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
