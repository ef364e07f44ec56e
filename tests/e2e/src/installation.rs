//! A cluster with Catalyst in it, as the chart installs it: definitions, accounts, roles, admission policies, and the two
//! processes that write, each as its own account.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use catalyst_testbed::{ControlPlane, Controllers, Node, Options, Output, dapr_crds};
use serde_json::Value;

use crate::audit::{self, Mark, Request};
use crate::beneath::Beneath;
use crate::cluster::Cluster;
use crate::process::Operator;
use crate::server::serves_admission_policies;
use crate::status::{is_ready, says};
use crate::wait::until;

/// The account of `catalyst agent`.
pub const AGENT: &str = "system:serviceaccount:catalyst-system:catalyst-agent";

/// The account of `catalyst agent --controllers=secret`.
pub const SECRETS: &str = "system:serviceaccount:catalyst-system:catalyst-secrets";

/// The account of `catalyst config-stream`.
pub const STREAM: &str = "system:serviceaccount:catalyst-dapr:catalyst-config-stream";

/// The groups of the first two.
const GROUPS: [&str; 2] = ["system:serviceaccounts", "system:serviceaccounts:catalyst-system"];

/// The longest wait for anything that has no deadline of its own: it takes far less, but a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane and the operator.
pub struct Installation {
    /// `catalyst agent`.
    pub agent: Operator,
    /// `catalyst agent --controllers=secret`.
    pub secrets: Operator,
    /// The cluster beneath.
    pub control_plane: Beneath,
    cluster: Cluster,
}

impl Deref for Installation {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Installation {
    /// A fresh cluster with both processes ready. There is no Region yet.
    pub fn start() -> Self {
        let mut installation = Self::prepare();
        installation.mend();
        installation
    }

    /// As [`Installation::start`], with other definitions of our kinds.
    pub fn with_crds(crds: Vec<PathBuf>) -> Self {
        let mut installation = Self::prepare_with(crds);
        installation.mend();
        installation
    }

    /// A fresh cluster in which the operator has never run.
    pub fn prepare() -> Self {
        Self::prepare_with(vec![repository("crds")])
    }

    /// As [`Installation::start`], on a node whose pods run.
    pub fn with_pods() -> Self {
        Self::try_with_pods().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Installation::with_pods`], where there can be a node.
    ///
    /// # Errors
    ///
    /// When this is not root, Debian's packages are missing, or a part of the cluster does not run.
    pub fn try_with_pods() -> Result<Self, catalyst_testbed::Error> {
        let mut installation = Self::on_a_node(vec![repository("crds")])?.furnished();
        installation.mend();
        Ok(installation)
    }

    /// A node with nothing on it, for helm to install into, where what it installs runs. The processes are told apart and
    /// not running.
    pub fn empty_with_pods() -> Self {
        // Dapr's kinds, which the chart leaves to whoever brings Dapr's own.
        Self::on_a_node(vec![repository("crds/dapr.yaml")])
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn on_a_node(crds: Vec<PathBuf>) -> Result<Self, catalyst_testbed::Error> {
        Ok(Self::upon(Beneath::Node(Box::new(Node::start(&fresh(crds))?))))
    }

    /// As [`Installation::prepare`], to be measured: Kubernetes does no more than it must, and logs no bodies.
    pub fn for_figures() -> Self {
        let crds = vec![repository("crds")];
        Self::on(Options { crds, controllers: Controllers::Few, ..Options::default() })
    }

    fn prepare_with(crds: Vec<PathBuf>) -> Self {
        Self::on(fresh(crds))
    }

    /// A cluster with Dapr's definitions and nothing of ours, for helm to install into. The processes are told apart
    /// and not running.
    pub fn empty() -> Self {
        Self::bare(Options::default())
    }

    fn on(options: Options) -> Self {
        Self::bare(options).furnished()
    }

    /// With what the operator needs: accounts, roles, and admission policies where there are any.
    fn furnished(self) -> Self {
        let mut policies = vec!["accounts.yaml", "roles.yaml", "dapr.yaml"];
        policies.extend(serves_admission_policies(&self.control_plane).then_some("admission"));
        let files = policies.into_iter().map(|file| repository(&format!("policies/{file}")));
        let mut apply = vec![PathBuf::from("apply")];
        apply.extend(files.flat_map(|file| ["-f".into(), file]));
        succeeds(self.control_plane.kubectl(&apply));
        self
    }

    fn bare(options: Options) -> Self {
        let options = with_dapr_kinds(options).expect("Dapr's definitions");
        let control_plane = ControlPlane::start(&options).expect("a control plane");
        Self::upon(Beneath::ControlPlane(Box::new(control_plane)))
    }

    fn upon(control_plane: Beneath) -> Self {
        let user = |user: &str| {
            let name = user.rsplit(':').next().unwrap_or(user);
            control_plane.kubeconfig_for(name, user, &GROUPS).expect("a kubeconfig")
        };
        let secrets =
            ["--controllers=secret", "--lease=catalyst-secrets", "--identity=catalyst-secrets-0"];
        Self {
            agent: Operator::new("agent", &[], &user(AGENT)),
            secrets: Operator::new("secrets", &secrets, &user(SECRETS)),
            cluster: Cluster::new(control_plane.kubeconfig()),
            control_plane,
        }
    }

    /// Starts what does not run, and waits until it is ready.
    pub fn mend(&mut self) {
        for operator in [&mut self.agent, &mut self.secrets] {
            if !operator.runs() {
                operator.start(&self.control_plane);
            }
        }
    }

    /// Kills both processes, with SIGKILL.
    pub fn kill(&mut self) {
        self.agent.kill();
        self.secrets.kill();
    }

    /// Runs kubectl as a person who may do everything, by the words of a line. Returns what it prints.
    pub fn kubectl(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        succeeds(self.control_plane.kubectl(&words))
    }

    /// Looks until there is an answer. When time is up it panics with what was seen last, and what the agent logged.
    pub fn until<T>(
        &self,
        within: Duration,
        what: &str,
        look: impl FnMut() -> Result<T, String>,
    ) -> T {
        let _logs = OnPanic(self);
        until(within, what, look)
    }

    /// Waits until an object has what is looked for. One that is missing is passed as null.
    pub fn wait_for<T>(
        &self,
        within: Duration,
        (kind, namespace, name): (&str, Option<&str>, &str),
        what: &str,
        mut look: impl FnMut(&Value) -> Result<T, String>,
    ) -> T {
        let place = namespace.map_or(String::new(), |namespace| format!(" in {namespace}"));
        self.until(within, &format!("{kind} {name}{place} {what}"), || {
            look(&self.get(kind, namespace, name).unwrap_or_default())
        })
    }

    /// Waits until an object is Ready, and returns it.
    pub fn ready(&self, kind: &str, namespace: Option<&str>, name: &str) -> Value {
        let place = (kind, namespace, name);
        self.wait_for(PATIENCE, place, "is Ready", |object| {
            is_ready(object).map(|()| object.clone())
        })
    }

    /// Waits until an object says why it is `Stalled` or `Reconciling`, and returns the message.
    pub fn told(
        &self,
        within: Duration,
        place: (&str, Option<&str>, &str),
        as_: &str,
        reason: &str,
    ) -> String {
        let what = format!("is {as_} with {reason}");
        self.wait_for(within, place, &what, |object| says(object, as_, reason))
    }

    /// Waits until an object is gone.
    pub fn gone(&self, within: Duration, kind: &str, namespace: Option<&str>, name: &str) {
        self.wait_for(within, (kind, namespace, name), "is gone", |object| match object {
            Value::Null => Ok(()),
            object => Err(format!("{:#}", object["metadata"])),
        });
    }

    /// This moment, for [`Installation::requests`].
    pub fn mark(&self) -> Mark {
        audit::now(&self.control_plane.audit_log())
    }

    /// What the API server answered since a moment.
    pub fn requests(&self, since: Mark) -> Vec<Request> {
        audit::since(&self.control_plane.audit_log(), since)
    }

    /// What the operator's accounts wrote since a moment, or tried to, but for their leases.
    pub fn writes(&self, since: Mark) -> Vec<Request> {
        let mut requests = self.requests(since);
        requests.retain(|request| {
            [AGENT, SECRETS].contains(&request.user()) && request.is_write() && !request.is_lease()
        });
        requests
    }

    /// The most requests of the operator's accounts within any one second since a moment, watches included.
    pub fn peak(&self, since: Mark) -> usize {
        audit::peak(&self.control_plane.audit_log(), since, &[AGENT, SECRETS])
    }

    /// Waits until the operator's accounts have written nothing for 3 s: what they do is done, since a status in which
    /// only a count differs waits for 2 s at most.
    pub fn calm(&self) {
        let quiet = Duration::from_secs(3);
        let (mut mark, mut since) = (self.mark(), Instant::now());
        self.until(PATIENCE, "nothing is written for 3 s", || {
            let next = self.mark();
            let writes = self.writes(mark);
            if !writes.is_empty() {
                (mark, since) = (next, Instant::now());
            }
            if since.elapsed() >= quiet { Ok(()) } else { Err(format!("{writes:?}")) }
        });
    }

    /// The end of what both processes logged.
    fn logged(&self) -> String {
        let tail = |name: &str, operator: &Operator| {
            let log = operator.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(25)..];
            format!("the log of {name} ends:\n{}\n", last.join("\n"))
        };
        tail("agent", &self.agent) + &tail("secrets", &self.secrets)
    }
}

/// What a cluster with Catalyst in it is started with.
fn fresh(crds: Vec<PathBuf>) -> Options {
    let audit_bodies_of = vec![AGENT.into(), SECRETS.into()];
    Options { crds, audit_bodies_of, ..Options::default() }
}

/// The repository's definitions have Dapr's kinds among them; a cluster without them gets Dapr's own.
fn with_dapr_kinds(mut options: Options) -> Result<Options, catalyst_testbed::Error> {
    if !options.crds.contains(&repository("crds")) {
        options.crds.extend(dapr_crds()?);
    }
    Ok(options)
}

/// The log goes with the cluster, so a failure shows it.
struct OnPanic<'a>(&'a Installation);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.logged());
        }
    }
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn succeeds(output: Result<Output, catalyst_testbed::Error>) -> String {
    let output = output.and_then(Output::success);
    output.unwrap_or_else(|error| panic!("{error}"))
}
