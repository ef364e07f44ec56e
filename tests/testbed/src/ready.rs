//! Waits for a part of the cluster, for a bounded time, and on failure shows what each part last said.

use std::path::Path;
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
            let logs = ["etcd", "kube-apiserver", "kube-controller-manager"].map(|part| {
                let log = logs.join(format!("{part}.log"));
                format!("{part}:\n{}", tail(&log))
            });
            return Err(Error::NotReady {
                what: what.to_owned(),
                waited: PATIENCE,
                last,
                logs: logs.join("\n"),
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
