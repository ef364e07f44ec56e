//! Which files are read, and their bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::node::At;

/// One file, or the standard input.
pub(super) struct Source {
    /// As errors name it.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads files, folders with all in them, and `-`, in the order given and sorted within a folder.
pub(super) fn read(paths: &[PathBuf], stdin: &mut dyn Read) -> (Vec<Source>, Vec<Fault>) {
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    let mut left = MAX_BYTES;
    let mut take = |path: &Path, bytes: io::Result<Vec<u8>>| match bytes {
        Ok(bytes) => sources.push(Source { name: name(path), bytes }),
        Err(error) => faults.push(unreadable(path, &error)),
    };
    let mut empty = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            take(path, bytes_of(&mut *stdin, &mut left));
            continue;
        }
        match files(path) {
            Err((path, error)) => take(&path, Err(error)),
            Ok(files) if files.is_empty() => empty.push(path),
            Ok(files) => {
                for file in files {
                    take(&file, File::open(&file).and_then(|file| bytes_of(file, &mut left)));
                }
            }
        }
    }
    faults.extend(empty.into_iter().map(|path| {
        let message = "has no *.yaml, *.yml or *.json in it: name another folder";
        Fault::new(&name(path), At::default(), message)
    }));
    (sources, faults)
}

/// A file that is read alone.
pub(super) fn read_one(path: &Path) -> Result<Source, Vec<Fault>> {
    let bytes = File::open(path).and_then(|file| bytes_of(file, &mut { MAX_BYTES }));
    match bytes {
        Ok(bytes) => Ok(Source { name: name(path), bytes }),
        Err(error) => Err(vec![unreadable(path, &error)]),
    }
}

/// As many bytes as are read in all. A region of some thousand apps has about one MiB; a device never ends.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

fn bytes_of(source: impl Read, left: &mut u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = source.take(*left + 1).read_to_end(&mut bytes)? as u64;
    *left = left.checked_sub(size).ok_or_else(|| {
        let message = "with it, there is more than 16 MiB to read: render fewer files at a time";
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    })?;
    Ok(bytes)
}

/// A file itself, or what a folder holds. What is hidden (`.git`) is left out, and folders behind
/// links, which may go in circles.
fn files(path: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let at = |error| (path.to_path_buf(), error);
    if !std::fs::metadata(path).map_err(at)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(at)? {
        let entry = entry.map_err(at)?;
        let (kind, path) = (entry.file_type().map_err(at)?, entry.path());
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            found.extend(files(&path)?);
        } else if is_manifest(&path) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(&name(path), At::default(), format!("can't be read: {error}"))
}
