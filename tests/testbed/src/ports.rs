//! Chooses ports for a cluster that stay its own, also while its API server is down in an outage test.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;

use crate::directory::{all, write};
use crate::error::{Error, Result};

/// Below Linux' ephemeral ports (32768 and up, ip(7)): of those, a client that dials a server which is down can be
/// given the server's own port, is then connected to itself, and the server can't come back. Also below node ports.
const RANGE: Range<u16> = 20_000..30_000;

/// Records and returns ports on 127.0.0.1 that are free and that no other cluster has recorded.
///
/// The caller holds the lock of `clusters`.
pub(crate) fn claim<const N: usize>(clusters: &Path, mine: &Path) -> Result<[u16; N]> {
    let mut taken = Vec::new();
    for folder in all(clusters)? {
        let ports = fs::read_to_string(folder.join("ports")).unwrap_or_default();
        taken.extend(ports.split_whitespace().filter_map(|port| port.parse::<u16>().ok()));
    }
    // Other users' records can't be read: beginning elsewhere, two starts at once rarely meet.
    let first = RANGE.start + u16::try_from(std::process::id() % 1_000).unwrap_or(0) * 10;
    let range = (first..RANGE.end).chain(RANGE.start..first);
    let mut free = range.filter(|port| !taken.contains(port) && is_free(*port));
    let mut ports = [0; N];
    for port in &mut ports {
        *port = free.next().ok_or(Error::NoPort { range: RANGE })?;
    }
    write(&mine.join("ports"), &ports.map(|port| port.to_string()).join(" "))?;
    Ok(ports)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
