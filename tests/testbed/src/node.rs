//! A real cluster of one node with pods: a control plane, kubelet, containerd, kube-proxy, DNS, and a NetworkPolicy
//! enforcer that is not ours, in a network of their own that leads nowhere.

mod app;
mod containers;
mod dial;
mod flags;
mod images;
mod needs;
pub(crate) mod network;
mod pod;
mod policies;
mod python;
mod stores;
mod tool;
mod turn;
mod volumes;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::control_plane::ControlPlane;
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::peers::Kubernetes;
use crate::process::Process;
use crate::progress::Progress;
use crate::ready;
use crate::site::Site;
pub use app::{app, app_image};
use containers::Containers;
pub use dial::Dialled;
use images::Programs;
use network::Network;
pub use network::Network as Host;
pub use pod::pod;
pub use python::python_sdk;
pub use stores::Stores;

/// The cluster's DNS server.
const DNS: &str = include_str!("node/dns.yaml");

/// A running cluster with pods. It ends, and all that it left goes, when this is dropped or the process dies.
///
/// It is a [`ControlPlane`] too. Its network is not the test's: from here only the API server is reached, and pods by
/// way of it (exec, port-forward, proxy). By a relay, as the other ways cost more: a thread of the test that enters the
/// network ends with the test, and what [`Node::keep`] leaves is then out of reach; a link would be a way out.
pub struct Node {
    programs: Programs,
    containers: Containers,
    network: Network,
    // Dropped in this order: who needs the control plane first, and the turn when all is cleaned.
    parts: Mutex<BTreeMap<String, Process>>,
    control_plane: ControlPlane,
    took: Duration,
    _turn: File,
}

impl Deref for Node {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.control_plane
    }
}

impl Node {
    /// Starts a cluster and waits until pods run in it, names are known and policies are enforced.
    ///
    /// Another process's cluster with pods is waited for first.
    ///
    /// # Errors
    ///
    /// When this is not root, Debian's packages are missing, binaries can't be built, a part ends by itself, or it is
    /// not ready within a minute.
    pub fn start(options: &Options) -> Result<Self> {
        needs::check()?;
        let kubernetes = Kubernetes::build()?;
        if !kubernetes.is_whole() {
            let (what, mend) = ("the Kubernetes to run pods", "only the current one does");
            return Err(Error::Invalid { what, value: kubernetes.version, mend });
        }
        let programs = Programs::build()?;
        let turn = turn::take()?;
        let since = Instant::now();
        let _progress =
            Progress::of(format!("starting Kubernetes {} with pods", kubernetes.version));

        let (directory, [entrance]) = Directory::create()?;
        let network = Network::of_node(&directory)?;
        policies::begin(&network)?;
        let containers = Containers::configure(&directory)?;
        let mut parts = relays(&directory, &network, &programs.pod, entrance)?;
        parts.insert("containerd".into(), containers.start(&directory, &network)?);

        let site = Site::within(network.clone(), entrance);
        let control_plane = std::thread::scope(|scope| {
            let images = scope.spawn(|| {
                containers.until_it_answers()?;
                programs.images.iter().try_for_each(|image| containers.load(image))
            });
            let control_plane = ControlPlane::start_at(site, directory, kubernetes, options)?;
            let loaded = images.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            loaded.map(|()| control_plane)
        })?;

        let parts = Mutex::new(parts);
        let mut node = Self {
            programs,
            containers,
            network,
            parts,
            control_plane,
            took: Duration::ZERO,
            _turn: turn,
        };
        node.run_enforcer()?;
        node.start_kubelet()?;
        let scheduler = node.identify("kube-scheduler", "system:kube-scheduler", &[], &[])?;
        node.run("kube-scheduler", &flags::scheduler(&scheduler))?;
        let proxy = node.identify("kube-proxy", "system:kube-proxy", &[], &[])?;
        node.run("kube-proxy", &flags::proxy(node.data_dir(), &proxy)?)?;
        node.kubectl_with(&["apply", "--server-side", "-f", "-"], DNS)?.success()?;
        // It answers when it has read what services there are: past scheduler, kubelet, proxy and enforcer.
        node.until_available("kube-system", "coredns")?;
        node.took = since.elapsed();
        Ok(node)
    }

    /// How long the start took once everything was built and it was this one's turn.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Takes an image in, from an archive: pods then have it by the name that is in it.
    ///
    /// # Errors
    ///
    /// When there is no such file, or containerd can't read it.
    pub fn load(&self, archive: &Path) -> Result<()> {
        self.containers.load(archive)
    }

    /// Where its containerd listens: for `ctr`, in the variable `CONTAINERD_ADDRESS`.
    pub fn containerd(&self) -> PathBuf {
        self.containers.socket()
    }

    /// Joins a host outside of the cluster to it, as the internet's or a cloud's: with addresses of its own, on which
    /// it answers with its name, TCP (as HTTP) and UDP. It ends with the cluster.
    ///
    /// # Errors
    ///
    /// When an address is none, the name is taken, or the operating system refuses.
    pub fn outside(&self, name: &str, addresses: &[&str], ports: &[u16]) -> Result<Host> {
        let parse = |address: &&str| {
            address.parse::<IpAddr>().map_err(|_| Error::Invalid {
                what: "an address of a host outside",
                value: (*address).to_owned(),
                mend: "write one address, as 198.51.100.7 or 2001:db8::7",
            })
        };
        let addresses: Vec<IpAddr> = addresses.iter().map(parse).collect::<Result<_>>()?;
        let mut running = self.parts();
        let number = number(&running);
        let part = format!("{OUTSIDE}{name}");
        if running.contains_key(&part) {
            let (what, mend) = ("the name of a host outside", "another host has it: take another");
            return Err(Error::Invalid { what, value: name.to_owned(), mend });
        }
        let directory = self.control_plane.directory();
        let host = self.network.of_host(directory, name, number, &addresses)?;
        let mut command = host.command(&self.programs.pod);
        command.args(["serve", name]).args(ports.iter().map(ToString::to_string));
        running.insert(part.clone(), directory.spawn(&part, &command)?);
        Ok(host)
    }

    /// PostgreSQL and Redis on a host outside of the cluster, which pods reach as any other. The first call starts them,
    /// and they end with the cluster.
    ///
    /// # Errors
    ///
    /// When Debian's packages are missing, or one of them does not start.
    pub fn stores(&self) -> Result<Stores> {
        let directory = self.control_plane.directory();
        let stores = Stores::of(directory)?;
        let mut running = self.parts();
        let name = |store: &str| format!("{OUTSIDE}{store}");
        if !running.contains_key(&name("postgres")) {
            let started = stores.start(directory, &self.network, number(&running))?;
            running.extend(started.map(|(store, process)| (name(store), process)));
        }
        Ok(stores)
    }

    /// Makes so many volumes, for whoever claims one without saying of which class. What is in them outlives pods.
    ///
    /// # Errors
    ///
    /// When the operating system or the API server refuses.
    pub fn volumes(&self, count: usize) -> Result<()> {
        let volumes = volumes::volumes(self.data_dir(), count)?;
        self.kubectl_with(&["apply", "-f", "-"], &volumes.to_string())?.success()?;
        Ok(())
    }

    /// Asks an [`app`] what tests ask, as `seen?below=/orders`; with a body, as for `call`, to do something.
    ///
    /// # Errors
    ///
    /// When it can't be asked.
    pub fn ask(&self, of: (&str, &str), path: &str, body: Option<&str>) -> Result<String> {
        let path = app::path(of, path);
        let answer = match body {
            None => self.kubectl(&["get", "--raw", &path]),
            Some(body) => self.kubectl_with(&["create", "--raw", &path, "-f", "-"], body),
        };
        answer?.success()
    }

    /// Has a test pod dial, all targets at once, as `tcp4://10.70.0.2:443` or `udp6://shop.prj-shop:53`.
    ///
    /// # Errors
    ///
    /// When the pod can't be asked.
    pub fn dial(
        &self,
        from: (&str, &str),
        to: &[impl AsRef<str>],
        within: Duration,
    ) -> Result<Vec<Dialled>> {
        let path = dial::path(from, to, within.as_millis());
        let answer = self.kubectl(&["get", "--raw", &path])?.success()?;
        Ok(dial::outcomes(&answer))
    }

    /// Waits until a Deployment is available.
    ///
    /// # Errors
    ///
    /// When it is not within a minute, or a part ends by itself.
    pub fn until_available(&self, namespace: &str, deployment: &str) -> Result<()> {
        let what = format!("deployment {deployment} in {namespace}");
        let object = format!("deployment/{deployment}");
        ready::until(&what, &self.control_plane.directory().logs(), || {
            self.check()?;
            let wait =
                ["wait", "--for=condition=Available", "--timeout=2s", "-n", namespace, &object];
            let answer = self.kubectl(&wait)?;
            let available = answer.status.success();
            Ok(if available { Ok(()) } else { Err(answer.stderr.trim().to_owned()) })
        })
    }

    /// Kills kubelet: pods go on, but nobody looks after them.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn stop_kubelet(&self) -> Result<()> {
        self.stop("kubelet")
    }

    /// Starts kubelet, after [`Node::stop_kubelet`].
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn start_kubelet(&self) -> Result<()> {
        let user = format!("system:node:{}", flags::NAME);
        let serves = [&[flags::NAME], &network::NODE[..]].concat();
        let kubeconfig = self.identify("kubelet", &user, &["system:nodes"], &serves)?;
        let (directory, keys) = (self.data_dir(), self.control_plane.keys());
        let flags = flags::kubelet(directory, keys, &kubeconfig, &self.containers)?;
        self.run("kubelet", &flags)
    }

    /// Makes it a cluster that enforces no policies, as there are many: they are accepted, and everything passes.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn stop_enforcing(&self) -> Result<()> {
        policies::end(&self.network)?;
        self.stop("enforcer")
    }

    /// Enforces policies, after [`Node::stop_enforcing`].
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn start_enforcing(&self) -> Result<()> {
        policies::begin(&self.network)?;
        self.run_enforcer()
    }

    /// Leaves everything running when this process ends; [`stop_kept`](crate::stop_kept) ends it. Returns the
    /// kubeconfig.
    ///
    /// # Errors
    ///
    /// When the folder can't be marked.
    pub fn keep(self) -> Result<PathBuf> {
        let kubeconfig = self.control_plane.keep()?;
        // Forgotten, or its drop ends the processes.
        std::mem::forget(self.parts);
        Ok(kubeconfig)
    }

    /// Fails if a part has ended by itself.
    ///
    /// # Errors
    ///
    /// With the end of the log of the first part that ended.
    pub fn check(&self) -> Result<()> {
        self.control_plane.check()?;
        self.parts().values_mut().try_for_each(Process::must_run)
    }

    fn run_enforcer(&self) -> Result<()> {
        let kubeconfig = self.identify("enforcer", "enforcer", &["system:masters"], &[])?;
        let flags = flags::enforcer(&kubeconfig);
        let process = self.run_there("enforcer", &self.programs.enforcer, &flags)?;
        self.parts().insert("enforcer".into(), process);
        Ok(())
    }

    /// Runs a part of Kubernetes.
    fn run(&self, part: &str, flags: &[String]) -> Result<()> {
        let process = self.part(part, flags)?;
        self.parts().insert(part.to_owned(), process);
        Ok(())
    }

    fn stop(&self, part: &str) -> Result<()> {
        match self.parts().remove(part) {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        // A test that panicked between two statements leaves nothing half done here.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the parts that are outside of the cluster begin with.
const OUTSIDE: &str = "outside-";

/// The number of the next host outside, by which it gets its link.
fn number(running: &BTreeMap<String, Process>) -> usize {
    1 + running.keys().filter(|part| part.starts_with(OUTSIDE)).count()
}

/// The way from this machine's loopback into the network, to the API server: two relays with a socket between them, one
/// on each side. The files that sockets are belong to no network.
fn relays(
    directory: &Directory,
    network: &Network,
    pod: &Path,
    entrance: u16,
) -> Result<BTreeMap<String, Process>> {
    let socket = format!("unix:{}", directory.path().join("entrance.sock").display());
    let near = format!("tcp:127.0.0.1:{entrance}");
    let far = format!("tcp:127.0.0.1:{}", network::API_SERVER);
    let mut outer = std::process::Command::new(pod);
    outer.args(["relay", &near, &socket]);
    let mut inner = network.command(pod);
    inner.args(["relay", &socket, &far]);
    Ok(BTreeMap::from([
        ("entrance".to_owned(), directory.spawn("entrance", &outer)?),
        ("entrance-inside".to_owned(), directory.spawn("entrance-inside", &inner)?),
    ]))
}
