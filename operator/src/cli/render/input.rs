//! Which files are read, and their bytes.

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
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            match stdin.read_to_end(&mut bytes) {
                Ok(_) => sources.push(Source { name: "-".into(), bytes }),
                Err(error) => faults.push(unreadable(path, &error)),
            }
            continue;
        }
        let files = match files(path) {
            Ok(files) => files,
            Err((path, error)) => {
                faults.push(unreadable(&path, &error));
                continue;
            }
        };
        if files.is_empty() {
            faults.push(Fault::new(
                &name(path),
                At::default(),
                "has no *.yaml, *.yml or *.json in it: name another folder",
            ));
        }
        for file in files {
            match bytes_of(&file) {
                Ok(bytes) => sources.push(Source { name: name(&file), bytes }),
                Err(error) => faults.push(unreadable(&file, &error)),
            }
        }
    }
    (sources, faults)
}

/// No file of manifests is larger; a device that never ends is.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if size as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 64 MiB: split it",
        ));
    }
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
