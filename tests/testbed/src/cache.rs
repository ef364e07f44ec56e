//! Where binaries and running clusters lie: in the user's cache, so that a second checkout builds nothing again.

use std::fs;
use std::path::PathBuf;

use crate::error::{Doing, Error, Result};

/// A folder below `${XDG_CACHE_HOME:-~/.cache}/catalyst`, made if it is not there.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir().ok_or(Error::NoCache)?.join(".cache"),
    };
    let folder = cache.join("catalyst").join(name);
    fs::create_dir_all(&folder).doing("making", &folder)?;
    Ok(folder)
}
