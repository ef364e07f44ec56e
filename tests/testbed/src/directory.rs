//! The folder of one running cluster, and the promise that folder and processes go away together with their owner.
//!
//! Three things keep it, each where the one before can't: `Drop`; a janitor process, which outlives an owner that is
//! killed; and a sweep before each start, for when the janitor was killed as well (a reboot, a container that ended).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cache;
use crate::error::{Doing, Result};
use crate::ports;
use crate::process::{Process, started};

const JANITOR: &str = include_str!("janitor.sh");

/// The line that lets the janitor go home.
const KEEP: &str = "keep\n";

/// Holds a program back until its owner has recorded it, and ends without running it if the owner dies before.
const GUARD: &str = r#"read -r go && exec "$@" </dev/null"#;

/// The folder of one cluster, and everything that runs from it.
pub(crate) struct Directory {
    path: PathBuf,
    janitor: Option<Child>,
}

impl Directory {
    /// Makes a folder, with ports that no other cluster of this user has, after sweeping away what was left behind.
    pub(crate) fn create<const N: usize>() -> Result<(Self, [u16; N])> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let clusters = cache::folder("clusters")?;
        sweep(&clusters)?;

        // Held while choosing: two starts at once must not choose the same ports.
        let lock = clusters.join("lock");
        let lock = File::create(&lock).doing("making", &lock)?;
        lock.lock().doing("locking", clusters.join("lock"))?;

        let owner = std::process::id();
        let mut names = std::iter::repeat_with(|| COUNT.fetch_add(1, Ordering::Relaxed))
            .map(|count| clusters.join(format!("{owner}-{count}")));
        // Process ids are reused, and a cluster that is kept may have had this one.
        let path = names.find(|path| !path.exists()).unwrap_or_default();
        DirBuilder::new().mode(0o700).create(&path).doing("making", &path)?;
        let start = started(owner).unwrap_or_default();
        write(&path.join("owner"), &format!("{owner} {start}\n"))?;
        write(&path.join("processes"), "")?;
        let mut directory = Self { path, janitor: None };
        directory.janitor = Some(janitor(&directory.path)?);
        let ports = ports::claim(&clusters, &directory.path)?;
        fs::create_dir(directory.logs()).doing("making", directory.logs())?;
        Ok((directory, ports))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Runs a program that can't outlive this folder's owner. It writes to `log/<name>.log`.
    pub(crate) fn spawn(&self, name: &str, command: &Command) -> Result<Process> {
        let log = self.logs().join(format!("{name}.log"));
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output = output.doing("opening", &log)?;
        let errors = output.try_clone().doing("opening", &log)?;

        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(variable, value),
                None => guard.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guard.current_dir(folder);
        }
        // A group of its own: Ctrl-C in the terminal is for the owner, which then ends this.
        guard.stdin(Stdio::piped()).stdout(output).stderr(errors).process_group(0);
        let mut child = guard.spawn().doing("running", "sh")?;

        let record = self.path.join("processes");
        let line = format!("{} {} {name}\n", child.id(), started(child.id()).unwrap_or_default());
        let mut file = OpenOptions::new().append(true).open(&record).doing("opening", &record)?;
        file.write_all(line.as_bytes()).doing("writing", &record)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"go\n").doing("starting", name)?;
        }
        Ok(Process::new(name, child, log))
    }

    /// Records a network namespace that goes with the folder, and returns its name: the caller makes it after that.
    pub(crate) fn claim_network(&self, name: &str) -> Result<String> {
        let folder = self.path.file_name().unwrap_or_default().display();
        let name = format!("catalyst-{folder}-{name}");
        let record = self.path.join("networks");
        let file = OpenOptions::new().create(true).append(true).open(&record);
        let written = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
        written.doing("writing", &record)?;
        Ok(name)
    }

    /// Leaves folder and processes when the owner ends. [`Directory::kept`] finds them again.
    pub(crate) fn keep(mut self) -> Result<PathBuf> {
        write(&self.path.join("kept"), "")?;
        if let Some(mut janitor) = self.janitor.take() {
            if let Some(mut pipe) = janitor.stdin.take() {
                pipe.write_all(KEEP.as_bytes()).doing("writing to the janitor of", &self.path)?;
            }
            janitor.wait().doing("waiting for the janitor of", &self.path)?;
        }
        Ok(std::mem::take(&mut self.path))
    }

    /// The folders that were kept and still run.
    pub(crate) fn kept() -> Result<Vec<PathBuf>> {
        let clusters = cache::folder("clusters")?;
        sweep(&clusters)?;
        Ok(all(&clusters)?.into_iter().filter(|path| path.join("kept").exists()).collect())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Some(mut janitor) = self.janitor.take() {
            // `wait` closes the pipe first, which is what the janitor waits for.
            let _ = janitor.wait();
        }
        if self.path.exists() {
            // The janitor was killed. An error is left to the next sweep: a drop has nobody to tell.
            let _ = remove(&self.path);
        }
    }
}

/// Ends everything that runs from a folder and removes it.
pub(crate) fn remove(path: &Path) -> Result<()> {
    janitor(path)?.wait().doing("removing", path)?;
    Ok(())
}

/// Starts the janitor of a folder. It acts when its standard input closes.
fn janitor(path: &Path) -> Result<Child> {
    Command::new("sh")
        .args(["-c", JANITOR, "testbed-janitor"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // It must outlive its owner's process group, which Ctrl-C or a test runner ends as a whole.
        .process_group(0)
        .spawn()
        .doing("running", "sh")
}

/// Removes the folders whose owner is gone, but for kept ones of which something still runs.
fn sweep(clusters: &Path) -> Result<()> {
    let lock = clusters.join("lock");
    let lock = File::create(&lock).doing("making", &lock)?;
    lock.lock().doing("locking", clusters.join("lock"))?;
    let stale: Vec<PathBuf> = all(clusters)?
        .into_iter()
        .filter(|path| {
            let record = if path.join("kept").exists() { "processes" } else { "owner" };
            !any_runs(&path.join(record))
        })
        .collect();
    for path in stale {
        remove(&path)?;
    }
    Ok(())
}

/// Whether any process of a record is still the one that was recorded.
fn any_runs(record: &Path) -> bool {
    let text = fs::read_to_string(record).unwrap_or_default();
    text.lines().any(|line| {
        let mut words = line.split(' ');
        let pid = words.next().and_then(|word| word.parse().ok());
        pid.and_then(started).is_some_and(|start| words.next() == Some(&start))
    })
}

pub(crate) fn all(clusters: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(clusters).doing("reading", clusters)? {
        let path = entry.doing("reading", clusters)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Writes a file that only this user can read: half of them are keys.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).doing("writing", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a cluster leaves it that recorded this process as started at this time.
    fn recorded(name: &str, pid: u32, start: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("testbed-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        write(&path.join("processes"), &format!("{pid} {start} sleep\n")).unwrap();
        path
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_recorded_process_goes_with_its_folder() {
        let mut child = sleeper();
        let path = recorded("own", child.id(), &started(child.id()).unwrap());
        remove(&path).unwrap();
        assert!(!path.exists());
        assert!(child.wait().unwrap().code().is_none(), "ended by itself, not by a signal");
    }

    #[test]
    fn a_process_that_only_has_the_id_of_a_recorded_one_is_left_alone() {
        let mut child = sleeper();
        let path = recorded("other", child.id(), "1");
        remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
