//! A real control plane: etcd, kube-apiserver and kube-controller-manager, from start to the last trace.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::directory::{Directory, remove, write};
use crate::error::{Doing, Result};
use crate::etcd;
use crate::flags;
use crate::keys::Authority;
use crate::kubectl::{self, Output};
use crate::options::{Controllers, Options};
use crate::parts::Parts;
use crate::peers::Kubernetes;
use crate::process::Process;
use crate::progress::Progress;
use crate::ready;
use crate::site::{Ports, Site};

const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// A running control plane, reached on 127.0.0.1. It ends, and its folder goes, when this is dropped or the process
/// dies.
pub struct ControlPlane {
    kubernetes: Kubernetes,
    keys: Authority,
    site: Site,
    admin: PathBuf,
    controllers: Controllers,
    // Dropped in this order: the folder last.
    parts: Mutex<Parts>,
    directory: Directory,
}

impl ControlPlane {
    /// Starts a control plane and waits until it answers and has made the `default` service account.
    ///
    /// Binaries are built first if they are not in the user's cache, which takes minutes once.
    ///
    /// # Errors
    ///
    /// When the binaries can't be built, a part ends by itself, or it is not ready within a minute.
    pub fn start(options: &Options) -> Result<Self> {
        let kubernetes = Kubernetes::build()?;
        let _progress = Progress::of(format!("starting Kubernetes {}", kubernetes.version));
        let (directory, [etcd, etcd_peer, api_server]) = Directory::create()?;
        let site = Site::loopback(Ports { etcd, etcd_peer, api_server });
        Self::start_at(site, directory, kubernetes, options)
    }

    /// Starts a control plane at a site, in a folder that may have other parts of the cluster already.
    pub(crate) fn start_at(
        site: Site,
        directory: Directory,
        kubernetes: Kubernetes,
        options: &Options,
    ) -> Result<Self> {
        let keys = Authority::create(directory.path().join("keys"))?;
        keys.token_keys()?;
        keys.certify("kube-apiserver", "kube-apiserver", &[], &flags::API_SERVER_NAMES)?;
        keys.certify("front-proxy-client", "front-proxy-client", &[], &[])?;
        if site.has_pods() {
            keys.certify("kubelet-client", "kube-apiserver", &["system:masters"], &[])?;
        }
        let policy = flags::audit_policy(options).to_string();
        write(&directory.path().join("audit-policy.json"), &policy)?;

        let mut started = Self {
            kubernetes,
            keys,
            site,
            admin: PathBuf::new(),
            controllers: options.controllers,
            parts: Mutex::default(),
            directory,
        };
        started.admin = started.kubeconfig_for("admin", "admin", &["system:masters"])?;
        started.identify(CONTROLLER_MANAGER, "system:kube-controller-manager", &[], &[])?;

        let etcd = flags::etcd(started.data_dir(), started.site.ports);
        let etcd = started.part("etcd", &etcd)?;
        started.parts().etcd = Some(etcd);
        started.run_api_server()?;
        started.define(&options.crds)?;
        started.run_controller_manager()?;
        // The first thing that only the controller manager makes.
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        started.until_it_answers("the controller manager", account)?;
        Ok(started)
    }

    /// A kubeconfig for the administrator, a member of `system:masters`.
    pub fn kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// A kubeconfig for any user, who proves itself with a client certificate. The name is the file's.
    ///
    /// For a service account: user `system:serviceaccount:<namespace>:<name>`, groups `system:serviceaccounts` and
    /// `system:serviceaccounts:<namespace>`. Kubernetes adds `system:authenticated` itself.
    ///
    /// # Errors
    ///
    /// When there are more than two groups, or the files can't be written.
    pub fn kubeconfig_for(&self, name: &str, user: &str, groups: &[&str]) -> Result<PathBuf> {
        self.keys.certify(name, user, groups, &[])?;
        self.keys.kubeconfig(name, &self.url())
    }

    /// Runs kubectl as the administrator, or as whom a `--kubeconfig` among the arguments names.
    ///
    /// # Errors
    ///
    /// When it can't be run. A command that fails is an [`Output`] too; [`Output::success`] tells.
    pub fn kubectl(&self, arguments: &[impl AsRef<OsStr>]) -> Result<Output> {
        self.kubectl_with(arguments, "")
    }

    /// As [`ControlPlane::kubectl`], with something to read, as for `apply -f -`.
    ///
    /// # Errors
    ///
    /// When it can't be run.
    pub fn kubectl_with(&self, arguments: &[impl AsRef<OsStr>], input: &str) -> Result<Output> {
        let program = self.kubernetes.part("kubectl");
        kubectl::run(&program, self.data_dir(), &self.admin, arguments, input)
    }

    /// The address of the API server.
    pub fn url(&self) -> String {
        self.site.outside()
    }

    /// Keys, data and logs. The parts' logs are `log/<part>.log`.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The API server's audit log: a JSON object a line, one for each request, in the order they were answered.
    pub fn audit_log(&self) -> PathBuf {
        flags::audit_log(self.data_dir())
    }

    /// The audit log, read. A line that the API server was killed while writing is left out.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn audit_events(&self) -> Result<Vec<serde_json::Value>> {
        let path = self.audit_log();
        let text = fs::read_to_string(&path).doing("reading", &path)?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Runs a program that can't outlive this control plane, nor this process. It writes to `log/<name>.log`.
    ///
    /// Of the command, program, arguments, environment and working folder are taken over.
    ///
    /// # Errors
    ///
    /// When it can't be run. That a program is missing shows in its log, and in its end.
    pub fn spawn(&self, name: &str, command: &Command) -> Result<Process> {
        self.directory.spawn(name, command)
    }

    /// The process id of the API server, while it runs.
    pub fn api_server_pid(&self) -> Option<u32> {
        self.parts().api_server.as_ref().map(Process::id)
    }

    /// Kills the API server, as an outage does: SIGKILL, connections cut. etcd keeps its state.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn stop_api_server(&self) -> Result<()> {
        match self.parts().api_server.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts the API server, on the same port as before, and waits until it is ready.
    ///
    /// The controller manager is started anew with it: one that saw an outage of 40 s takes another minute to notice
    /// that it is over. In a cluster with a leader election it ends with its lease, and is started anew as well.
    ///
    /// # Errors
    ///
    /// When it ends by itself, or is not ready within a minute.
    pub fn start_api_server(&self) -> Result<()> {
        self.stop_api_server()?;
        self.run_api_server()?;
        self.run_controller_manager()
    }

    /// Has etcd forget all that was before, as it does every five minutes: watches that begin there are told 410 Gone.
    ///
    /// # Errors
    ///
    /// When etcd refuses.
    pub fn compact(&self) -> Result<()> {
        etcd::compact(self.site.ports.etcd).doing("compacting", self.data_dir())
    }

    /// Leaves everything running when this process ends; [`stop_kept`] ends it. Returns the kubeconfig.
    ///
    /// # Errors
    ///
    /// When the folder can't be marked.
    pub fn keep(self) -> Result<PathBuf> {
        self.directory.keep()?;
        let parts = self.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Forgotten, or its drop ends the processes.
        std::mem::forget(parts);
        Ok(self.admin)
    }

    /// Fails if a part has ended by itself.
    ///
    /// # Errors
    ///
    /// With the end of the log of the first part that ended.
    pub fn check(&self) -> Result<()> {
        self.parts().check()
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // A test that panicked between two statements leaves nothing half done here.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a part of Kubernetes at the cluster's site.
    pub(crate) fn part(&self, name: &str, flags: &[String]) -> Result<Process> {
        self.run_there(name, &self.kubernetes.part(name), flags)
    }

    /// As [`ControlPlane::spawn`], but at the cluster's site.
    pub(crate) fn run_there(
        &self,
        name: &str,
        program: &Path,
        arguments: &[String],
    ) -> Result<Process> {
        self.directory.spawn(name, self.site.command(program).args(arguments))
    }

    /// A certificate and a kubeconfig for a part, which reaches the API server by the cluster's own addresses.
    pub(crate) fn identify(
        &self,
        name: &str,
        user: &str,
        groups: &[&str],
        serves: &[&str],
    ) -> Result<PathBuf> {
        self.keys.certify(name, user, groups, serves)?;
        self.keys.kubeconfig(name, &self.site.inside())
    }

    pub(crate) fn keys(&self) -> &Path {
        self.keys.folder()
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    fn run_api_server(&self) -> Result<()> {
        // Ends the line that a kill may have cut, so that it takes no whole one with it.
        let audit = self.audit_log();
        if audit.exists() {
            let file = OpenOptions::new().append(true).open(&audit);
            file.and_then(|mut file| file.write_all(b"\n")).doing("writing", &audit)?;
        }
        let flags = flags::api_server(self.keys.folder(), self.data_dir(), &self.site);
        let process = self.part("kube-apiserver", &flags)?;
        self.parts().api_server = Some(process);
        self.until_it_answers("the API server", "/readyz")
    }

    fn run_controller_manager(&self) -> Result<()> {
        // The old one, if there is one, ends first.
        self.parts().controller_manager = None;
        let flags = flags::controller_manager(self.keys.folder(), self.controllers, &self.site);
        let process = self.part(CONTROLLER_MANAGER, &flags)?;
        self.parts().controller_manager = Some(process);
        Ok(())
    }

    fn define(&self, crds: &[PathBuf]) -> Result<()> {
        if crds.is_empty() {
            return Ok(());
        }
        let mut apply = vec![OsStr::new("apply"), OsStr::new("--server-side")];
        for path in crds {
            apply.extend([OsStr::new("--filename"), path.as_os_str()]);
        }
        self.kubectl(&apply)?.success()?;
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?.success()?;
        Ok(())
    }

    fn until_it_answers(&self, what: &str, path: &str) -> Result<()> {
        ready::until(what, &self.directory.logs(), || {
            self.check()?;
            // Dialling costs nothing, unlike kubectl, and most of the time nobody listens yet.
            if let Err(error) = listens(self.site.entrance) {
                return Ok(Err(error.to_string()));
            }
            let answer = self.kubectl(&["get", "--raw", path])?;
            let answers = answer.status.success();
            Ok(if answers { Ok(()) } else { Err(answer.stderr.trim().to_owned()) })
        })
    }
}

/// Whether somebody listens who waits to be spoken to: a relay to nobody hangs up instead.
fn listens(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    match stream.read(&mut [0]) {
        Ok(_) => Err(ErrorKind::ConnectionReset.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Stops the control planes of this user that were kept, and returns the folders that were removed.
///
/// # Errors
///
/// When the operating system refuses.
pub fn stop_kept() -> Result<Vec<PathBuf>> {
    let kept = Directory::kept()?;
    kept.iter().try_for_each(|path| remove(path))?;
    Ok(kept)
}
