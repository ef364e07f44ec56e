//! Builds Kubernetes and other programs from their pinned Go modules, once per pin, and fetches Dapr's definitions.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::cache;
use crate::error::{Doing, Error, Result, tail};
use crate::progress::Progress;

/// The parts that `tests/peers/kubernetes/main.go` knows, which it tells apart by the name it is called by.
const PARTS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
];

/// A built Kubernetes.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// Its version, as in `1.36.3`.
    pub version: String,
    /// The folder with `kubectl`, `kube-apiserver` and every other part, by their names.
    pub bin: PathBuf,
}

impl Kubernetes {
    /// Builds the Kubernetes that `tests/peers/kubernetes/go.mod` pins, or finds it built before.
    ///
    /// The first build takes minutes and says so on stderr. Of several callers at once one builds, and the rest wait.
    ///
    /// # Errors
    ///
    /// When Go is missing, or the build fails.
    pub fn build() -> Result<Self> {
        let module = module("kubernetes");
        let version = pinned(&module, "k8s.io/kubernetes")?;
        let title = format!("Kubernetes {version}");
        let key = key(&module, &title)?;

        let bin =
            built("kubernetes", &key, &title, |folder| compile(&module, &title, &version, folder))?;
        Ok(Self { version, bin })
    }

    /// The path of one part.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// The program that says what kstatus says of objects, built from `tests/peers/kstatus`, or found built before.
///
/// It reads objects, one as JSON a line, and prints a verdict a line: `Current`, a tab, why.
///
/// # Errors
///
/// When Go is missing, or the build fails.
pub fn kstatus() -> Result<PathBuf> {
    program("kstatus", Some("sigs.k8s.io/cli-utils"), ".")
}

/// The helm that `tests/peers/helm/go.mod` pins, built or found built before.
///
/// # Errors
///
/// When Go is missing, or the build fails.
pub fn helm() -> Result<PathBuf> {
    program("helm", Some("helm.sh/helm/v4"), "helm.sh/helm/v4/cmd/helm")
}

/// The one program of a Go module below `tests/peers`, built from it or found built before.
///
/// Its version is that of one of its dependencies. The package is a path in one of those, or `.` for the module itself.
pub(crate) fn program(name: &str, versioned: Option<&str>, package: &str) -> Result<PathBuf> {
    let module = module(name);
    let version = versioned.map(|dependency| pinned(&module, dependency)).transpose()?;
    let title = version.map_or(name.to_owned(), |version| format!("{name} {version}"));
    let folder = built(name, &key(&module, &title)?, &title, |folder| {
        let _progress = Progress::of(format!("building {title}"));
        link(&module, package, &title, "-s -w", folder, name)
    })?;
    Ok(folder.join(name))
}

/// The custom resource definitions of the Dapr that `tests/peers/dapr/go.mod` pins, by their files.
///
/// The Go toolchain fetches the module once and checks it against `go.sum`.
///
/// # Errors
///
/// When Go is missing, or the module cannot be had.
pub fn dapr_crds() -> Result<Vec<PathBuf>> {
    let module = module("dapr");
    let peer = format!("Dapr {}", pinned(&module, "github.com/dapr/dapr")?);
    let _progress = Progress::of(format!("fetching {peer}"));
    let output = go(&module, &["mod", "download", "-json", "github.com/dapr/dapr"])
        .output()
        .map_err(|error| no_go(error, &peer))?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let (true, Some(source)) = (output.status.success(), answer["Dir"].as_str()) else {
        let reason = answer["Error"].as_str().unwrap_or_default();
        let output = format!("{reason}{}", String::from_utf8_lossy(&output.stderr));
        let command = "go mod download github.com/dapr/dapr";
        return Err(Error::Go { peer, module, command, output });
    };

    let folder = Path::new(source).join("charts/dapr/crds");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).doing("reading", &folder)? {
        files.push(entry.doing("reading", &folder)?.path());
    }
    files.sort();
    Ok(files)
}

/// The folder of a peer, which is built unless it is there. Of several callers at once one builds, and the rest wait.
fn built(
    name: &str,
    key: &str,
    title: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let peers = cache::folder("peers")?;
    let bin = peers.join(format!("{name}-{key}"));
    if bin.exists() {
        return Ok(bin);
    }
    let path = peers.join(format!("{name}.lock"));
    let lock = File::create(&path).doing("making", &path)?;
    {
        let _progress = Progress::of(format!("waiting for another build of {title}"));
        lock.lock().doing("locking", &path)?;
    }
    if !bin.exists() {
        remove_partial(&peers, name)?;
        // A build that was killed may still write into its folder: never the same folder twice.
        let partial = peers.join(format!("{name}-{key}.{}", std::process::id()));
        fs::create_dir_all(&partial).doing("making", &partial)?;
        build(&partial)?;
        fs::rename(&partial, &bin).doing("making", &bin)?;
    }
    Ok(bin)
}

/// A Go module below `tests/peers`.
fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("peers").join(name)
}

/// The version of a dependency as `go.mod` requires it, without the `v`.
fn pinned(module: &Path, dependency: &str) -> Result<String> {
    let path = module.join("go.mod");
    let text = fs::read_to_string(&path).doing("reading", &path)?;
    let version = text.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split(' ');
        (words.next() == Some(dependency)).then(|| words.next()).flatten()
    });
    Ok(version.unwrap_or("of an unknown version").trim_start_matches('v').to_owned())
}

/// Names a build by all that decides what comes out: the toolchain, the pins, the sources.
fn key(module: &Path, peer: &str) -> Result<String> {
    let go = go(module, &["env", "GOVERSION"]).output().map_err(|error| no_go(error, peer))?;
    let mut sources = vec![module.join("go.mod")];
    for entry in fs::read_dir(module).doing("reading", module)? {
        let path = entry.doing("reading", module)?.path();
        if path.extension().is_some_and(|extension| extension == "go" || extension == "sum") {
            sources.push(path);
        }
    }
    sources.sort();

    let mut hash = Sha256::new();
    hash.update(&go.stdout);
    for path in sources {
        let text = fs::read(&path).doing("reading", &path)?;
        // Without the folder, so that another checkout finds the same; with the length, so that no
        // two sets of files read the same.
        let name = path.file_name().unwrap_or_default().display();
        hash.update(format!("{name} {}\n", text.len()));
        hash.update(text);
    }
    Ok(hash.finalize().iter().take(8).fold(String::new(), |key, byte| format!("{key}{byte:02x}")))
}

/// Removes what builds of a peer left that failed or were killed. The caller holds the peer's lock.
fn remove_partial(folder: &Path, peer: &str) -> Result<()> {
    for entry in fs::read_dir(folder).doing("reading", folder)? {
        let path = entry.doing("reading", folder)?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let of_peer = stem.rsplit_once('-').is_some_and(|(name, _)| name == peer);
        if path.is_dir() && path.extension().is_some() && of_peer {
            fs::remove_dir_all(&path).doing("removing", &path)?;
        }
    }
    Ok(())
}

fn compile(module: &Path, title: &str, version: &str, folder: &Path) -> Result<()> {
    let _progress = Progress::of(format!("building {title}, the first time takes 5 minutes"));
    // What `kubectl version` and the agent's feature checks see: a plain build calls itself v0.0.0.
    let number: Vec<&str> = version.split('.').collect();
    let [major, minor, ..] = number[..] else {
        let output = format!("go.mod requires k8s.io/kubernetes {version}, which is no version");
        return Err(failed(module, title, output));
    };
    let name = "k8s.io/component-base/version.git";
    let linker =
        format!("-s -w -X {name}Version=v{version} -X {name}Major={major} -X {name}Minor={minor}");

    link(module, ".", title, &linker, folder, "kubernetes")?;
    for part in PARTS {
        symlink("kubernetes", folder.join(part)).doing("making", folder.join(part))?;
    }
    Ok(())
}

/// Builds a module's one program into a folder. Its log stays beside it.
fn link(
    module: &Path,
    package: &str,
    title: &str,
    linker: &str,
    folder: &Path,
    program: &str,
) -> Result<()> {
    let log = folder.join("build.log");
    let output = File::create(&log).doing("making", &log)?;
    let target = folder.join(program);
    let mut command = go(module, &["build", "-trimpath", "-buildvcs=false", "-ldflags"]);
    let status = command
        .args([OsString::from(linker), "-o".into(), target.into(), package.into()])
        // A static binary, which also goes into images.
        .env("CGO_ENABLED", "0")
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .map_err(|error| no_go(error, title))?;
    if status.success() { Ok(()) } else { Err(failed(module, title, tail(&log))) }
}

fn failed(module: &Path, title: &str, output: String) -> Error {
    let (peer, module) = (title.to_owned(), module.to_owned());
    Error::Go { peer, module, command: "go build .", output }
}

fn go(module: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(module).stdin(Stdio::null());
    command
}

fn no_go(source: std::io::Error, peer: &str) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        Error::NoGo { peer: peer.to_owned() }
    } else {
        Error::Io { doing: "running", path: "go".into(), source }
    }
}
