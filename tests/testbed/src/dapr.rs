//! Dapr, as `tests/peers/dapr` pins it: its definitions, which are fetched, and its programs in images, which are built.

use std::fs;
use std::path::PathBuf;

use crate::error::{Doing, Result};
use crate::image::archive;
use crate::peers::{built, fetched, key, link, module, pinned};
use crate::progress::Progress;

/// The module whose definitions and programs these are.
const DAPR: &str = "github.com/dapr/dapr";

/// The programs, each with its package: of the server a small one of ours, as Dapr's own has every component.
const PROGRAMS: [(&str, &str); 4] = [
    ("daprd", "./daprd"),
    ("sentry", "github.com/dapr/dapr/cmd/sentry"),
    ("placement", "github.com/dapr/dapr/cmd/placement"),
    ("scheduler", "github.com/dapr/dapr/cmd/scheduler"),
];

/// The custom resource definitions of the Dapr that `tests/peers/dapr/go.mod` pins, by their files.
///
/// The Go toolchain fetches the module once and checks it against `go.sum`. Nothing is built.
///
/// # Errors
///
/// When Go is missing, or the module cannot be had.
pub fn dapr_crds() -> Result<Vec<PathBuf>> {
    let folder = fetched("dapr", "Dapr", DAPR)?.join("charts/dapr/crds");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).doing("reading", &folder)? {
        files.push(entry.doing("reading", &folder)?.path());
    }
    files.sort();
    Ok(files)
}

/// The images of that Dapr, for [`Node::load`](crate::Node::load): `ghcr.io/dapr/{daprd,sentry,placement,scheduler}`
/// with its version as their tag, as Dapr publishes them, built from its module or found built before.
///
/// The first build takes minutes, more than all else here: only tests that run Dapr ask for it, and before they start a
/// node, which others may wait for.
///
/// # Errors
///
/// When Go is missing, or the build fails.
pub fn dapr_images() -> Result<Vec<PathBuf>> {
    let module = module("dapr");
    let version = pinned(&module, DAPR)?;
    let title = format!("Dapr {version}");
    let folder = built("dapr", &key(&module, &title)?, &title, |folder| {
        let _progress = Progress::of(format!("building {title}, the first time takes 10 minutes"));
        // What its programs, its API and its logs tell, or it would be `edge`.
        let linker = format!(
            "-s -w -X {DAPR}/pkg/buildinfo.version={version} \
             -X github.com/dapr/kit/logger.DaprVersion={version}"
        );
        link(&module, &PROGRAMS.map(|(_, package)| package), &title, &linker, folder, folder)
    })?;
    let images = PROGRAMS.iter().map(|(name, _)| {
        archive(&format!("ghcr.io/dapr/{name}:{version}"), &format!("/{name}"), &folder.join(name))
    });
    images.collect()
}
