//! What can go wrong while a cluster is built, started or asked, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a cluster could not be built, started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done, as in "writing".
        doing: &'static str,
        /// The file or program it was done to.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// Nowhere to keep binaries and data.
    #[error("no cache folder: neither XDG_CACHE_HOME nor HOME is set; set one of them")]
    NoCache,

    /// The Go toolchain is missing.
    #[error(
        "`go` is not in PATH, and {peer} is built with it; install Go 1.26 or newer: https://go.dev/dl/"
    )]
    NoGo {
        /// What was to be built or downloaded.
        peer: String,
    },

    /// The Go toolchain failed.
    #[error(
        "{peer} can't be had; try it by hand: cd {} && {command}\n{output}",
        module.display()
    )]
    Go {
        /// What was to be built or downloaded.
        peer: String,
        /// The Go module it is pinned in.
        module: PathBuf,
        /// The command that failed.
        command: &'static str,
        /// The end of what the toolchain said.
        output: String,
    },

    /// A part of the cluster ended by itself.
    #[error("{part} ended by itself ({status}); the end of its log:\n{log}")]
    Ended {
        /// The part, as in "kube-apiserver".
        part: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// A part of the cluster did not become ready in time.
    #[error(
        "{what} not there after {} s: {last}; the end of the logs:\n{logs}",
        waited.as_secs()
    )]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last answer.
        last: String,
        /// The end of each part's log.
        logs: String,
    },

    /// A kubectl command failed that was to succeed.
    #[error("kubectl {arguments} failed ({status}): {stderr}")]
    Kubectl {
        /// The arguments it was called with.
        arguments: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },

    /// A cluster with pods is not for every user.
    #[error(
        "a cluster with pods needs root (network namespaces, containers), and this is user {user}; \
         run it so: sudo -E env PATH=\"$PATH\" make test"
    )]
    NotRoot {
        /// Who runs this.
        user: u32,
    },

    /// The machine lacks programs that a cluster with pods takes from Debian.
    #[error(
        "a cluster with pods needs programs that are not in PATH (with /usr/sbin); `make setup` installs \
         them, or: sudo apt-get install --no-install-recommends {packages}"
    )]
    Missing {
        /// The packages they are in.
        packages: String,
    },

    /// Another process has a cluster with pods, and does not end.
    #[error(
        "another process has a cluster with pods for {} minutes now: `fuser {}` says which",
        waited.as_secs() / 60,
        lock.display()
    )]
    Occupied {
        /// The file that it holds.
        lock: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },

    /// One of the system's own tools failed.
    #[error("{command} failed ({status}): {stderr}")]
    Tool {
        /// The program with its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },

    /// What a test asked of the network makes no sense.
    #[error("{what} is {value:?}: {mend}")]
    Invalid {
        /// What was asked for.
        what: &'static str,
        /// As it was given.
        value: String,
        /// What to give instead.
        mend: &'static str,
    },

    /// Every port of the testbed's range is taken.
    #[error("no free port on 127.0.0.1 from {} to {}; `testbed down` stops what was kept", range.start, range.end - 1)]
    NoPort {
        /// The ports that were tried.
        range: std::ops::Range<u16>,
    },

    /// A key or certificate could not be made.
    #[error("making a key or certificate")]
    Keys(#[from] rcgen::Error),

    /// More groups than a certificate of ours can carry.
    #[error(
        "{user} is to have {count} groups, and a certificate made here carries two: \
         bind roles to the user, or use a service account and `kubectl create token`"
    )]
    Groups {
        /// The user that was asked for.
        user: String,
        /// How many groups were asked for.
        count: usize,
    },
}

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names what was being done to which file when the operating system refused.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io { doing, path: path.as_ref().to_owned(), source })
    }
}

/// The last lines of a log, or why there are none.
pub(crate) fn tail(log: &Path) -> String {
    /// Enough for a Go panic's reason and a flag's error with some context.
    const LINES: usize = 15;
    match std::fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        }
        Err(error) => format!("(no log at {}: {error})", log.display()),
    }
}
