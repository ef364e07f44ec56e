//! Waits for a part of the cluster, for a bounded time, and on failure shows what each part last said.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, tail};

/// Starting takes 4 s; a machine that is busy with a build takes five times that.
const PATIENCE: Duration = Duration::from_mins(1);

/// Repeats an attempt until it succeeds. What it answers instead is in the error when time is up.
pub(crate) fn until(
    what: &str,
    logs: &Path,
    mut attempt: impl FnMut() -> Result<Result<(), String>>,
) -> Result<()> {
    let since = Instant::now();
    loop {
        let Err(last) = attempt()? else { return Ok(()) };
        if since.elapsed() > PATIENCE {
            return Err(Error::NotReady {
                what: what.to_owned(),
                waited: PATIENCE,
                last,
                logs: ends(logs),
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The end of each part's log.
fn ends(folder: &Path) -> String {
    let mut logs: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    logs.retain(|log| !log.ends_with("audit.log"));
    logs.sort();
    let end = |log: &PathBuf| {
        let part = log.file_stem().unwrap_or_default().to_string_lossy();
        format!("{part}:\n{}", tail(log))
    };
    logs.iter().map(end).collect::<Vec<_>>().join("\n")
}
