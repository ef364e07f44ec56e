//! helm as people run it, with nothing of the caller's own configuration.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use catalyst_testbed::helm;

use crate::installation::repository;

/// What helm answered.
#[derive(Debug)]
pub struct Helm {
    /// Whether it succeeded.
    pub succeeded: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Helm {
    /// Runs helm at the root of the repository, without a cluster unless there is a kubeconfig.
    pub fn run(kubeconfig: Option<&Path>, arguments: &[&str]) -> Self {
        static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| helm().expect("helm"));
        // Nothing is ever written there: no repository is added and no plugin. Each helm has one of its own.
        let name = PROGRAM.file_name().expect("a name").to_string_lossy();
        let home = std::env::temp_dir().join(format!("catalyst-{name}"));
        let output = Command::new(&*PROGRAM)
            .args(arguments)
            .current_dir(repository("."))
            .env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")))
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .output()
            .expect("helm runs");
        Self {
            succeeded: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, if it succeeded.
    pub fn success(self) -> String {
        assert!(self.succeeded, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}
