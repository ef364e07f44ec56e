//! What a node takes from the machine: root, and programs of Debian that `make setup` installs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// The plugins that containerd connects pods with, where Debian puts them.
pub(crate) const PLUGINS: &str = "/usr/lib/cni";

/// Where Debian puts PostgreSQL, a folder for each version.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Each program and its Debian package. `.ci/node` has the same, and those of [`databases`] and [`python`].
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
    let mut missing = lacking(&PROGRAMS);
    if !Path::new(PLUGINS).join("bridge").exists() {
        missing.push("containernetworking-plugins");
    }
    all_but(&missing)
}

/// Fails with what to run if a database is missing. Returns where the programs of PostgreSQL are, of the newest one.
pub(crate) fn databases() -> Result<PathBuf> {
    let mut missing = lacking(&[("redis-check-rdb", "redis-tools"), ("redis-cli", "redis-tools")]);
    let versions = fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    let mut servers: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    servers.retain(|folder| folder.join("postgres").exists() && folder.join("psql").exists());
    // 9.6 sorts last, which Debian has not had for long.
    servers.sort();
    if servers.is_empty() {
        missing.push("postgresql");
    }
    all_but(&missing)?;
    Ok(servers.pop().unwrap_or_default())
}

/// Fails with what to run if Python or its installer is missing.
pub(crate) fn python() -> Result<()> {
    all_but(&lacking(&[("python3", "python3"), ("pip3", "python3-pip")]))
}

/// The packages of programs that are not in PATH.
fn lacking(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).exists());
    let missing = programs.iter().filter(|(program, _)| !is_there(program));
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn all_but(missing: &[&str]) -> Result<()> {
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing { packages: missing.join(" ") }) }
}
