//! What a node takes from the machine: root, and programs of Debian that `make setup` installs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// The plugins that containerd connects pods with, where Debian puts them.
pub(crate) const PLUGINS: &str = "/usr/lib/cni";

/// Each program and its Debian package. `.ci/node` has the same.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];

/// Fails with what to run if something is missing.
pub(crate) fn check() -> Result<()> {
    let me = fs::metadata("/proc/self").doing("reading", "/proc/self")?.uid();
    if me != 0 {
        return Err(Error::NotRoot { user: me });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).exists());
    let mut missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| package)
        .collect();
    if !Path::new(PLUGINS).join("bridge").exists() {
        missing.push("containernetworking-plugins");
    }
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing { packages: missing.join(" ") }) }
}
