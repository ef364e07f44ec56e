//! One node at a time: two would share two cores, and each be too slow for what the other's tests wait for.

use std::fs::{File, TryLockError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cache;
use crate::error::{Doing, Error, Result};
use crate::progress::Progress;

/// No file of tests takes longer.
const PATIENCE: Duration = Duration::from_mins(30);

/// Waits until no other process has a node. The turn ends when the file is closed, also by the end of the process.
pub(crate) fn take() -> Result<File> {
    let path = cache::folder("clusters")?.join("node.lock");
    let lock = File::create(&path).doing("making", &path)?;
    let _progress = Progress::of("waiting for another node to end");
    let since = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(source)) => return Err(source).doing("locking", &path),
            Err(TryLockError::WouldBlock) if since.elapsed() > PATIENCE => {
                return Err(Error::Occupied { lock: path, waited: PATIENCE });
            }
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(200)),
        }
    }
}
