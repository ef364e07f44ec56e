//! Calls the kubectl of the same version, as any user, with nothing of the caller's own configuration.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::error::{Doing, Error, Result};

/// What a kubectl command answered.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    arguments: String,
}

impl Output {
    /// What it printed, if it succeeded.
    ///
    /// # Errors
    ///
    /// When it failed: with the command and what it complained about.
    pub fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let stderr = self.stderr.trim().to_owned();
        Err(Error::Kubectl { arguments: self.arguments, status: self.status, stderr })
    }
}

/// Runs kubectl to its end. A later `--kubeconfig` among the arguments takes precedence.
pub(crate) fn run(
    kubectl: &Path,
    directory: &Path,
    kubeconfig: &Path,
    arguments: &[impl AsRef<OsStr>],
    input: &str,
) -> Result<Output> {
    let mut child = Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        // By default in the home folder, by address: the next cluster on this port would be taken for this one.
        .arg("--cache-dir")
        .arg(directory.join("kubectl"))
        .args(arguments)
        // Nor preferences of the person who runs the test (kubernetes.io/docs/reference/kubectl/kuberc).
        .env("KUBERC", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing("running", kubectl)?;

    // From a thread of its own: a long input and a long output would wait for each other.
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Not every command reads its input to the end; whether one succeeded, its status tells.
            let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
        });
        child.wait_with_output()
    });
    let output = output.doing("running", kubectl)?;
    let arguments: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        arguments: arguments.join(" "),
    })
}
