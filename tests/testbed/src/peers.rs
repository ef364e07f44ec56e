//! Builds Kubernetes and other programs from their pinned Go modules, once per pin.

use std::ffi::OsStr;
use std::fmt::Write as _;
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

/// What there is of an older one, in folders of `tests/peers`. The rest is the current one's.
const OLDER_PARTS: [&str; 2] = ["kube-apiserver", "kube-controller-manager"];
const OLDER: [&str; 2] = ["kubernetes-1-24", "kubernetes-1-30"];

/// The version of an older Kubernetes, whose control plane is then started in place of the current one's.
const KUBERNETES: &str = "CATALYST_KUBERNETES";

/// A built Kubernetes.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// The version of its control plane, as in `1.36.3`.
    pub version: String,
    /// The folder with `kubectl`, `kube-apiserver` and every other part of the current one, by their names.
    pub bin: PathBuf,
    /// The folder with what there is of an older one.
    older: Option<PathBuf>,
}

impl Kubernetes {
    /// Builds the Kubernetes that `tests/peers/kubernetes/go.mod` pins, or finds it built before; and beside it the
    /// control plane of an older one, if the variable `CATALYST_KUBERNETES` has its version.
    ///
    /// The first build takes minutes and says so on stderr. Of several callers at once one builds, and the rest wait.
    ///
    /// # Errors
    ///
    /// When Go is missing, the build fails, or there is no such version here.
    pub fn build() -> Result<Self> {
        let (version, bin) = kubernetes("kubernetes", &PARTS)?;
        let chosen = std::env::var(KUBERNETES).unwrap_or_default();
        if chosen.is_empty() || chosen == version {
            return Ok(Self { version, bin, older: None });
        }
        for name in OLDER {
            if pinned(&module(name), "k8s.io/kubernetes")? == chosen {
                let (version, older) = kubernetes(name, &OLDER_PARTS)?;
                return Ok(Self { version, bin, older: Some(older) });
            }
        }
        let mend = "write a version that go.mod of a folder tests/peers/kubernetes* pins";
        Err(Error::Invalid { what: KUBERNETES, value: chosen, mend })
    }

    /// The versions that there are: the older ones, and the current one last.
    ///
    /// # Errors
    ///
    /// When a pin can't be read.
    pub fn versions() -> Result<Vec<String>> {
        let all = OLDER.into_iter().chain(["kubernetes"]);
        all.map(|name| pinned(&module(name), "k8s.io/kubernetes")).collect()
    }

    /// The path of one part.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        let older = self.older.as_ref().filter(|_| OLDER_PARTS.contains(&name));
        older.unwrap_or(&self.bin).join(name)
    }

    /// Whether all of it is of one version, as a node takes it.
    pub(crate) fn is_whole(&self) -> bool {
        self.older.is_none()
    }
}

/// Builds the parts of one Kubernetes, or finds them built before. Returns its version and their folder.
fn kubernetes(name: &str, parts: &[&str]) -> Result<(String, PathBuf)> {
    let module = module(name);
    let version = pinned(&module, "k8s.io/kubernetes")?;
    let title = format!("Kubernetes {version}");
    let key = key(&module, &title)?;
    let bin =
        built(name, &key, &title, |folder| compile(&module, &title, &version, folder, parts))?;
    Ok((version, bin))
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

/// The helm that `tests/peers/helm/go.mod` pins, built or found built before; or helm 3, if the variable
/// `CATALYST_HELM` is `3`.
///
/// # Errors
///
/// When Go is missing, or the build fails.
pub fn helm() -> Result<PathBuf> {
    match std::env::var("CATALYST_HELM").as_deref() {
        Ok("3") => helm3(),
        _ => program("helm", Some("helm.sh/helm/v4"), "helm.sh/helm/v4/cmd/helm"),
    }
}

/// As its own Makefile builds it: without a word it takes an absent cluster for one of 1.20.
fn helm3() -> Result<PathBuf> {
    let library = pinned(&module("helm3"), "k8s.io/client-go")?;
    let minor = library.split('.').nth(1).unwrap_or_default();
    let linker = format!("-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}");
    program_with("helm3", Some("helm.sh/helm/v3"), "helm.sh/helm/v3/cmd/helm", &linker)
}

/// The definition of Prometheus Operator's kind `ServiceMonitor`, as `tests/peers/monitoring/go.mod` pins it.
///
/// # Errors
///
/// When Go is missing, or the module cannot be had.
pub fn service_monitor_crd() -> Result<PathBuf> {
    let operator = "github.com/prometheus-operator/prometheus-operator";
    let folder = fetched("monitoring", "Prometheus Operator", operator)?;
    Ok(folder.join("example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"))
}

/// The folder of a dependency's sources, as a Go module below `tests/peers` pins it.
///
/// The Go toolchain fetches it once and checks it against `go.sum`. Nothing is built.
pub(crate) fn fetched(name: &str, title: &str, dependency: &str) -> Result<PathBuf> {
    let module = module(name);
    let version = pinned(&module, dependency)?;
    let peer = format!("{title} {version}");
    let _progress = Progress::of(format!("fetching {peer}"));
    // With its version, or Go would first read what all the others of `go.mod` require in turn.
    let output = go(&module, &["mod", "download", "-json", &format!("{dependency}@v{version}")])
        .output()
        .map_err(|error| no_go(error, &peer))?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if let (true, Some(source)) = (output.status.success(), answer["Dir"].as_str()) {
        return Ok(source.into());
    }
    let reason = answer["Error"].as_str().unwrap_or_default();
    let output = format!("{reason}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Go { peer, module, command: "go mod download", output })
}

/// The one program of a Go module below `tests/peers`, built from it or found built before.
///
/// Its version is that of one of its dependencies. The package is a path in one of those, or `.` for the module itself.
pub(crate) fn program(name: &str, versioned: Option<&str>, package: &str) -> Result<PathBuf> {
    program_with(name, versioned, package, "-s -w")
}

fn program_with(
    name: &str,
    versioned: Option<&str>,
    package: &str,
    linker: &str,
) -> Result<PathBuf> {
    let module = module(name);
    let version = versioned.map(|dependency| pinned(&module, dependency)).transpose()?;
    let title = version.map_or(name.to_owned(), |version| format!("{name} {version}"));
    let folder = built(name, &key(&module, &title)?, &title, |folder| {
        let _progress = Progress::of(format!("building {title}"));
        link(&module, &[package], &title, linker, folder, &folder.join(name))
    })?;
    Ok(folder.join(name))
}

/// The folder of a peer, which is built unless it is there. Of several callers at once one builds, and the rest wait.
pub(crate) fn built(
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
pub(crate) fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("peers").join(name)
}

/// The version of a dependency as `go.mod` requires it, without the `v`.
pub(crate) fn pinned(module: &Path, dependency: &str) -> Result<String> {
    let path = module.join("go.mod");
    let text = fs::read_to_string(&path).doing("reading", &path)?;
    let version = text.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split(' ');
        (words.next() == Some(dependency)).then(|| words.next()).flatten()
    });
    Ok(version.unwrap_or("of an unknown version").trim_start_matches('v').to_owned())
}

/// Names a build by all that decides what comes out: the toolchain, the pins, the sources.
pub(crate) fn key(module: &Path, peer: &str) -> Result<String> {
    let go = go(module, &["env", "GOVERSION"]).output().map_err(|error| no_go(error, peer))?;
    let mut sources = sources(module)?;
    sources.sort();

    let mut hash = Sha256::new();
    hash.update(&go.stdout);
    for path in sources {
        let text = fs::read(&path).doing("reading", &path)?;
        // Without the folder, so that another checkout finds the same; with the length, so that no
        // two sets of files read the same.
        let name = path.strip_prefix(module).unwrap_or(&path).display();
        hash.update(format!("{name} {}\n", text.len()));
        hash.update(text);
    }
    Ok(hash.finalize().iter().take(8).fold(String::new(), |key, byte| format!("{key}{byte:02x}")))
}

/// The files of a module that decide what is built.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing("reading", folder)? {
        let path = entry.doing("reading", folder)?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path
            .extension()
            .is_some_and(|kind| ["go", "mod", "sum"].iter().any(|known| kind == *known))
        {
            found.push(path);
        }
    }
    Ok(found)
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

fn compile(module: &Path, title: &str, version: &str, folder: &Path, parts: &[&str]) -> Result<()> {
    let _progress = Progress::of(format!("building {title}, the first time takes 5 minutes"));
    // What `kubectl version` and the agent's feature checks see: a plain build calls itself v0.0.0.
    let number: Vec<&str> = version.split('.').collect();
    let [major, minor, ..] = number[..] else {
        let output = format!("go.mod requires k8s.io/kubernetes {version}, which is no version");
        return Err(failed(module, title, output));
    };
    let mut linker = "-s -w".to_owned();
    // What a program calls itself, and what its API server answers.
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        let _ = write!(linker, " -X {package}.gitVersion=v{version} -X {package}.gitMajor={major}");
        let _ = write!(linker, " -X {package}.gitMinor={minor}");
    }

    link(module, &["."], title, &linker, folder, &folder.join("kubernetes"))?;
    for part in parts {
        symlink("kubernetes", folder.join(part)).doing("making", folder.join(part))?;
    }
    Ok(())
}

/// Builds packages into a target: one program, or a folder for several. The log stays in the peer's folder.
pub(crate) fn link(
    module: &Path,
    packages: &[&str],
    title: &str,
    linker: &str,
    folder: &Path,
    target: &Path,
) -> Result<()> {
    let log = folder.join("build.log");
    let output = File::create(&log).doing("making", &log)?;
    let mut command = go(module, &["build", "-trimpath", "-buildvcs=false"]);
    let status = command
        // Leaves the libraries of clouds out of an older Kubernetes.
        .args(["-tags", "providerless", "-ldflags"])
        .args([OsStr::new(linker), "-o".as_ref(), target.as_os_str()])
        .args(packages)
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

pub(crate) fn go(module: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(module).stdin(Stdio::null());
    command
}

pub(crate) fn no_go(source: std::io::Error, peer: &str) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        Error::NoGo { peer: peer.to_owned() }
    } else {
        Error::Io { doing: "running", path: "go".into(), source }
    }
}
