//! The official Python SDK of Dapr, which pip installs into the cache, once per pin.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::error::{Doing, Result};
use crate::node::{needs, tool};
use crate::peers::{built, module};
use crate::progress::Progress;

/// The folder of the Python SDK that `tests/peers/python/requirements.txt` pins, for `PYTHONPATH`, installed or found
/// installed before. `tests/peers/python/client.py` uses it.
///
/// # Errors
///
/// When Python or its pip is missing, or a package can't be had.
pub fn python_sdk() -> Result<PathBuf> {
    needs::python()?;
    let requirements = module("python").join("requirements.txt");
    let pins = fs::read(&requirements).doing("reading", &requirements)?;
    // What it installs is for this Python only.
    let version = tool::output(Command::new("python3").arg("--version"))?;
    let key = Sha256::new().chain_update(version).chain_update(pins).finalize();
    let key = key.iter().take(8).fold(String::new(), |key, byte| format!("{key}{byte:02x}"));
    built("python", &key, "the Python SDK of Dapr", |folder| {
        let _progress = Progress::of("installing the Python SDK of Dapr");
        let mut pip = Command::new("python3");
        // Nothing is compiled, as there may be no compiler; and all that is needed is pinned.
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--root-user-action=ignore", "--target"]);
        tool::run(pip.arg(folder).arg("-r").arg(&requirements))
    })
}
