//! One program that runs from a cluster's folder: its id, its log, its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result, tail};

/// A program that runs beside the control plane: one of its parts, or what a test started.
///
/// Dropping it ends it with SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn new(name: &str, child: Child, log: PathBuf) -> Self {
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with all it wrote to stdout and stderr.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal by its short name: `TERM`, `STOP`, `CONT`.
    ///
    /// # Errors
    ///
    /// When the process is gone, or there is no such signal.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.send(signal, &self.id().to_string())
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    ///
    /// When the operating system can't tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().doing("asking after", &self.name)
    }

    /// Waits until it ends by itself, as after `signal("TERM")`; nothing if it still runs at the end of the time.
    ///
    /// # Errors
    ///
    /// When the operating system can't tell.
    pub fn wait(&mut self, at_most: Duration) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + at_most;
        loop {
            let ended = self.ended()?;
            if ended.is_some() || Instant::now() > until {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it and its children with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            // It leads a group of its own, see `Directory::spawn`.
            self.send("KILL", &format!("-{}", self.id()))?;
            self.child.wait().doing("killing", &self.name)?;
        }
        Ok(())
    }

    /// By way of the shell: the standard library has no signal but KILL.
    fn send(&self, signal: &str, to: &str) -> Result<()> {
        let sent = Command::new("sh")
            .args(["-c", r#"kill -s "$1" -- "$2""#, "sh", signal, to])
            .output()
            .and_then(|output| {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                if output.status.success() { Ok(()) } else { Err(std::io::Error::other(reason)) }
            });
        sent.doing("signalling", &self.name)
    }

    /// Turns an end that nobody asked for into an error that shows why.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                Err(Error::Ended { part: self.name.clone(), status, log: tail(&self.log) })
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; what could not be killed is the janitor's.
        let _ = self.kill();
    }
}

/// When a process started, in clock ticks since boot, and so together with its id which process it is.
pub(crate) fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, second, may hold spaces and brackets; the start time is field 22 (proc_pid_stat(5)).
    let after_name = stat.rsplit_once(") ")?.1;
    let mut fields = after_name.split(' ');
    let running = fields.next()? != "Z";
    fields.nth(18).filter(|_| running).map(str::to_owned)
}
