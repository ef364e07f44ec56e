//! Honest status: what Flux and others wait by, kstatus, calls an object Current only when all that was planned for that
//! very generation stands.
//!
//! A play is acted once, from the first object to the last deletion, while every event of our five kinds and of what is
//! made for them is filmed. Resource versions order all kinds alike, so each frame shows the whole cluster as it was; and
//! each frame of ours is judged by kstatus itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use catalyst_e2e::{Installation, condition, region_secrets, repository, settle};
use catalyst_testbed::kstatus;
use futures::{StreamExt, TryStreamExt};
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The promise: a spec that can't work is told within this time.
const TOLD: Duration = Duration::from_secs(5);

/// How long nothing must happen once everything is done.
const REST: Duration = Duration::from_secs(6);

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(30);

const OURS: [&str; 5] = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];

/// What is filmed: our kinds, and what is made for them.
const FILMED: [(&str, &str); 12] = [
    ("cra.diagrid.io/v1beta1", "Region"),
    ("cra.diagrid.io/v1beta1", "Project"),
    ("cra.diagrid.io/v1beta1", "AppIdentity"),
    ("cra.diagrid.io/v1beta1", "EgressPolicy"),
    ("cra.diagrid.io/v1beta1", "SecretRef"),
    ("v1", "Namespace"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    ("v1", "ResourceQuota"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("dapr.io/v1alpha1", "Configuration"),
];

/// One event.
struct Frame {
    /// When it came.
    at: Instant,
    object: Value,
    is_gone: bool,
    /// What kstatus says; empty of what is not ours, or gone.
    verdict: String,
}

impl Frame {
    fn revision(&self) -> u64 {
        text(&self.object["metadata"]["resourceVersion"]).parse().expect("a number")
    }

    fn generation(&self) -> i64 {
        self.object["metadata"]["generation"].as_i64().unwrap_or_default()
    }

    fn is_ours(&self) -> bool {
        OURS.iter().any(|kind| self.object["kind"] == *kind)
    }

    fn place(&self) -> Place {
        let metadata = &self.object["metadata"];
        let [kind, namespace, name] =
            [&self.object["kind"], &metadata["namespace"], &metadata["name"]].map(text);
        (kind.into(), namespace.into(), name.into())
    }

    /// For a failure.
    fn shown(&self) -> String {
        let (kind, namespace, name) = self.place();
        let status = &self.object["status"];
        format!(
            "{kind} {namespace}/{name}, revision {}, generation {}: kstatus says {}\n{status:#}",
            self.revision(),
            self.generation(),
            self.verdict
        )
    }
}

/// Kind, namespace, name.
type Place = (String, String, String);

/// All that happened, in order, and when its acts began.
struct Film {
    frames: Vec<Frame>,
    /// The operator runs for the first time.
    woken: Instant,
    /// A Project that was right is made wrong, a wrong EgressPolicy is made.
    spoilt: [(Place, Instant); 2],
    /// An EgressPolicy is changed while the operator is down, and when it is up again.
    unseen: (Place, Instant, Instant),
    /// Nothing is done from here to there.
    rest: (Instant, Instant),
}

impl Film {
    /// The frames of our kinds that are not the last of their object.
    fn ours(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.is_ours() && !frame.is_gone)
    }

    /// All frames before anything is deleted.
    fn before_the_end(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().take_while(|frame| frame.at < self.rest.1)
    }
}

static FILM: LazyLock<Film> = LazyLock::new(play);

/// What the examples lack, for the first act: a policy in a project whose namespace lies in Git.
const POLICY: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: mail, namespace: prj-blog}
spec:
  allowed: [{name: relay, cidrs: [1.2.3.4/32], ports: [{port: 587}]}]
";

/// Files that can be applied before there is an operator: their namespace lies in Git.
const FIRST: [&str; 6] = [
    "platform/region.yaml",
    "platform/projects/blog.yaml",
    "platform/projects/ledger.yaml",
    "platform/projects/shop.yaml",
    "teams/blog/apps.yaml",
    "teams/blog/secrets.yaml",
];

/// The changes, each with the object that must be Ready again. Networks are such that no two join.
const CHANGES: [(&str, &str, &str, &str); 6] = [
    (
        "EgressPolicy",
        "prj-shop",
        "orders",
        "{appIds: [orders], allowed: [{name: orders-db, cidrs: [10.20.7.8/32, 10.20.9.9/32], ports: [{port: 5432}]}]}",
    ),
    (
        "EgressPolicy",
        "prj-shop",
        "no-public-resolvers",
        "{blocked: [{name: public-resolvers, cidrs: [1.1.1.0/24, 9.9.9.0/24]}]}",
    ),
    ("AppIdentity", "prj-ledger", "journal", "{apiTokenRevision: 3}"),
    ("AppIdentity", "prj-blog", "web", "{apiTokenRevision: 2}"),
    (
        "SecretRef",
        "prj-shop",
        "database",
        "{remote: {name: database}, keys: [{name: password}, {name: user, remoteKey: username}]}",
    ),
    ("Project", "", "blog", "{quota: {hard: {pods: 30}}}"),
];

/// The Project of the act in which one is spoilt: wrong, then right.
const SPOILT: [&str; 2] = ["10.4.5.6/8", "4.4.4.0/24"];

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    let at = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    format!(
        "{{apiVersion: cra.diagrid.io/v1beta1, kind: {kind}, metadata: {{name: {name}{at}}}, spec: {spec}}}"
    )
}

fn place(kind: &str, namespace: &str, name: &str) -> Place {
    (kind.into(), namespace.into(), name.into())
}

/// Acts the play.
fn play() -> Film {
    let mut stage = Installation::prepare();
    let camera = Camera::start(&stage);

    // Nobody is there to look.
    region_secrets(&stage);
    for file in FIRST {
        let path = repository("gitops-examples").join(file);
        stage.apply(&std::fs::read_to_string(path).expect("an example"));
    }
    stage.apply(POLICY);
    std::thread::sleep(Duration::from_secs(1));

    let woken = Instant::now();
    stage.mend();
    settle(&stage);
    stage.ready("EgressPolicy", Some("prj-blog"), "mail");

    for (kind, namespace, name, spec) in CHANGES {
        stage.apply(&object(kind, namespace, name, spec));
        stage.ready(kind, Some(namespace).filter(|name| !name.is_empty()), name);
    }
    let spoilt = spoil(&stage);
    let unseen = change_unseen(&mut stage);

    stage.calm();
    let begins = Instant::now();
    std::thread::sleep(REST);
    let rest = (begins, Instant::now());

    end(&stage);
    let mut frames = camera.stop(&stage);
    judge(&mut frames);
    Film { frames, woken, spoilt, unseen, rest }
}

/// Makes a Project wrong and right again, and a policy that is wrong from the beginning.
fn spoil(stage: &Installation) -> [(Place, Instant); 2] {
    let project = |cidr: &str| {
        let blocked = format!("blocked: [{{name: office, cidrs: [{cidr}]}}]");
        let delegated = "delegated: {cidrs: [10.20.0.0/16], namespaces: [databases]}";
        let spec = format!("{{region: eu, network: {{egress: {{{blocked}, {delegated}}}}}}}");
        object("Project", "", "shop", &spec)
    };
    let [wrong, right] = SPOILT;
    let first = (place("Project", "", "shop"), Instant::now());
    stage.apply(&project(wrong));
    let second = (place("EgressPolicy", "prj-blog", "wrong"), Instant::now());
    let spec = "{allowed: [{name: office, cidrs: [1.2.3.4/16]}]}";
    stage.apply(&object("EgressPolicy", "prj-blog", "wrong", spec));
    stage.told(SOON, ("Project", None, "shop"), "Stalled", "InvalidEgress");
    stage.told(SOON, ("EgressPolicy", Some("prj-blog"), "wrong"), "Stalled", "InvalidEgress");
    stage.apply(&project(right));
    stage.ready("Project", None, "shop");
    [first, second]
}

/// Changes a policy while nobody looks.
fn change_unseen(stage: &mut Installation) -> (Place, Instant, Instant) {
    stage.kill();
    let gone = Instant::now();
    let spec = "{allowed: [{name: relay, cidrs: [1.2.3.9/32], ports: [{port: 587}]}]}";
    stage.apply(&object("EgressPolicy", "prj-blog", "mail", spec));
    std::thread::sleep(Duration::from_secs(1));
    let back = Instant::now();
    stage.mend();
    stage.ready("EgressPolicy", Some("prj-blog"), "mail");
    (place("EgressPolicy", "prj-blog", "mail"), gone, back)
}

/// Deletes a policy, an app, a reference; then what they lay in.
fn end(stage: &Installation) {
    for (kind, namespace, name) in [
        ("EgressPolicy", Some("prj-shop"), "orders"),
        ("AppIdentity", Some("prj-shop"), "orders"),
        ("SecretRef", Some("prj-shop"), "database"),
        ("Project", None, "blog"),
        ("Project", None, "shop"),
    ] {
        stage.delete(kind, namespace, name);
    }
    stage.gone(SOON, "Project", None, "blog");
    stage.gone(SOON, "Project", None, "shop");
    stage.delete("Region", None, "eu");
    stage.calm();
}

/// Watches, each kind from a moment before anything of it is there.
struct Camera {
    frames: Receiver<Result<Frame, String>>,
    runtime: Runtime,
}

impl Camera {
    fn start(stage: &Installation) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(stage.control_plane.kubeconfig()).expect("a file");
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            Client::try_from(config.expect("a configuration")).expect("a client")
        });
        let (sender, frames) = channel();
        for (api_version, kind) in FILMED {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let kind = GroupVersionKind::gvk(group, version, kind);
            let api = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
            let list = runtime.block_on(api.list(&ListParams::default().limit(1)));
            let since = list.expect("a list").metadata.resource_version.expect("a version");
            runtime.spawn(film(api, since, sender.clone()));
        }
        Self { frames, runtime }
    }

    /// All frames, in the order in which it happened, once what was written last is among them: all that was filmed
    /// stands as it was filmed, or is gone there too.
    fn stop(self, stage: &Installation) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        stage.until(SOON, "the film shows what stands", || {
            frames
                .extend(self.frames.try_iter().map(|frame| frame.expect("a watch that sees all")));
            let id = |object: &Value| text(&object["metadata"]["uid"]).to_owned();
            let standing = FILMED.iter().flat_map(|(_, kind)| stage.list(kind, None, ""));
            let standing: BTreeMap<String, Value> =
                standing.map(|object| (id(&object), object["metadata"].clone())).collect();
            let last: BTreeMap<String, &Frame> =
                frames.iter().map(|frame| (id(&frame.object), frame)).collect();
            let version = "resourceVersion";
            let differs = |(id, frame): &(&String, &&Frame)| match standing.get(*id) {
                Some(now) => now[version] != frame.object["metadata"][version],
                None => !frame.is_gone,
            };
            last.iter().find(differs).map_or(Ok(()), |(_, frame)| Err(frame.shown()))
        });
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        frames.sort_by_key(Frame::revision);
        frames
    }
}

async fn film(api: Api<DynamicObject>, since: String, sender: Sender<Result<Frame, String>>) {
    let events = match api.watch(&WatchParams::default(), &since).await {
        Ok(events) => events,
        Err(error) => return drop(sender.send(Err(error.to_string()))),
    };
    let mut events = events.map_err(|error| error.to_string()).boxed();
    while let Some(event) = events.next().await {
        let (object, is_gone) = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, false),
            Ok(WatchEvent::Deleted(object)) => (object, true),
            Ok(WatchEvent::Bookmark(_)) => continue,
            Ok(WatchEvent::Error(error)) => return drop(sender.send(Err(format!("{error:?}")))),
            Err(error) => return drop(sender.send(Err(error))),
        };
        let object = serde_json::to_value(&object).expect("JSON");
        let frame = Frame { at: Instant::now(), object, is_gone, verdict: String::new() };
        drop(sender.send(Ok(frame)));
    }
    // The server ends a watch only after minutes.
    drop(sender.send(Err("a watch ended".into())));
}

/// Asks kstatus of each frame of ours.
fn judge(frames: &mut [Frame]) {
    let mut kstatus = Command::new(kstatus().expect("kstatus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kstatus runs");
    let ours = |frame: &&mut Frame| frame.is_ours() && !frame.is_gone;
    let objects: Vec<String> =
        frames.iter_mut().filter(ours).map(|frame| frame.object.to_string()).collect();
    let mut stdin = kstatus.stdin.take().expect("a pipe");
    let asking = std::thread::spawn(move || {
        for object in objects {
            writeln!(stdin, "{object}").expect("it reads");
        }
    });
    let output = kstatus.wait_with_output().expect("it ends");
    asking.join().expect("all was asked");
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).expect("UTF-8");
    let mut verdicts = answers.lines();
    for frame in frames.iter_mut().filter(ours) {
        let verdict = verdicts.next().expect("a verdict for each").split('\t').next();
        frame.verdict = verdict.unwrap_or_default().into();
    }
    assert_eq!(verdicts.next(), None);
}

/// A cluster as it was at a moment.
#[derive(Default)]
struct World(BTreeMap<Place, Value>);

impl World {
    fn show(&mut self, frame: &Frame) {
        if frame.is_gone {
            self.0.remove(&frame.place());
        } else {
            self.0.insert(frame.place(), frame.object.clone());
        }
    }

    fn the(&self, kind: &str, namespace: &str, name: &str) -> Result<&Value, String> {
        let found = self.0.get(&place(kind, namespace, name));
        found.ok_or_else(|| format!("there is no {kind} {namespace}/{name}"))
    }

    /// Whether all stands that one of our objects is to have, as its spec is now.
    fn holds(&self, object: &Value) -> Result<(), String> {
        let metadata = &object["metadata"];
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        match text(&object["kind"]) {
            "Project" => self.holds_project(name, &object["spec"]),
            "AppIdentity" => self.holds_app(namespace, name, &object["spec"]),
            "EgressPolicy" => self.holds_policy(namespace, name, object),
            "SecretRef" => self.holds_reference(namespace, name, &object["spec"]),
            _ => Ok(()),
        }
    }

    fn holds_project(&self, name: &str, spec: &Value) -> Result<(), String> {
        let namespace = format!("prj-{name}");
        let stands = self.the("Namespace", "", &namespace)?;
        if !stands["metadata"]["deletionTimestamp"].is_null() {
            return Err(format!("{namespace} is being deleted"));
        }
        self.the("NetworkPolicy", &namespace, "default-deny")?;
        for binding in ["catalyst-project", "catalyst-project-secrets"] {
            self.the("RoleBinding", &namespace, binding)?;
        }
        if let Some(hard) = spec["quota"]["hard"].as_object() {
            let quota = self.the("ResourceQuota", &namespace, "project")?;
            same(&quota["spec"]["hard"]["pods"], &hard["pods"])?;
        }
        for cidr in strings(&spec["network"]["egress"]["blocked"], "cidrs") {
            excepts(self.the("NetworkPolicy", &namespace, "base-egress")?, cidr)?;
        }
        Ok(())
    }

    fn holds_app(&self, namespace: &str, name: &str, spec: &Value) -> Result<(), String> {
        let revision = spec["apiTokenRevision"].as_i64().unwrap_or(1);
        let secret = self.the("Secret", namespace, &format!("{name}-dapr-token-{revision}"))?;
        let token = text(&secret["data"]["token"]);
        if token.is_empty() {
            return Err(format!("the token of revision {revision} is empty"));
        }
        let dapr = format!("{name}-dapr");
        let connection = self.the("Secret", namespace, &dapr)?;
        same(&connection["data"]["DAPR_API_TOKEN"], &secret["data"]["token"])?;
        self.the("ServiceAccount", namespace, &dapr)?;
        self.the("Configuration", namespace, &dapr).map(drop)
    }

    fn holds_policy(&self, namespace: &str, name: &str, object: &Value) -> Result<(), String> {
        let named = object["status"]["networkPolicies"].as_array().into_iter().flatten();
        let mut bases = Vec::new();
        for carrier in named {
            let carrier = self.the("NetworkPolicy", namespace, text(carrier))?;
            if text(&carrier["metadata"]["name"]).starts_with("base-egress") {
                bases.push(carrier);
            }
        }
        let blocked = strings(&object["spec"]["blocked"], "cidrs");
        if !blocked.is_empty() && bases.is_empty() {
            return Err("its blocks are in no policy that its status names".into());
        }
        for base in bases {
            blocked.iter().try_for_each(|cidr| excepts(base, cidr))?;
        }
        let allowed = &object["spec"]["allowed"];
        if allowed.is_null() {
            return Ok(());
        }
        let egress = self.the("NetworkPolicy", namespace, &format!("egress-{name}"))?;
        let open: BTreeSet<&str> = peers(egress).filter_map(|peer| peer["cidr"].as_str()).collect();
        if open != strings(allowed, "cidrs") {
            return Err(format!("egress-{name} opens {open:?}"));
        }
        let whole = egress.to_string();
        let missing = strings(allowed, "namespaces");
        match missing.iter().find(|name| !whole.contains(&format!("\"{name}\""))) {
            Some(name) => Err(format!("egress-{name} does not open namespace {name}")),
            None => Ok(()),
        }
    }

    fn holds_reference(&self, namespace: &str, name: &str, spec: &Value) -> Result<(), String> {
        let target = spec["target"]["secretName"].as_str().unwrap_or(name);
        let secret = self.the("Secret", namespace, target)?;
        let keys: BTreeSet<&str> =
            secret["data"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let wanted = spec["keys"]
            .as_array()
            .map(|keys| keys.iter().map(|key| text(&key["name"])).collect::<BTreeSet<_>>());
        match wanted {
            Some(wanted) if wanted != keys => Err(format!("Secret {target} has {keys:?}")),
            _ if keys.is_empty() => Err(format!("Secret {target} is empty")),
            _ => Ok(()),
        }
    }
}

/// The `ipBlock`s of a policy's egress rules.
fn peers(policy: &Value) -> impl Iterator<Item = &Value> {
    let rules = policy["spec"]["egress"].as_array().into_iter().flatten();
    rules.flat_map(|rule| rule["to"].as_array().into_iter().flatten()).map(|peer| &peer["ipBlock"])
}

fn excepts(policy: &Value, cidr: &str) -> Result<(), String> {
    let mut except = peers(policy).flat_map(|peer| peer["except"].as_array().into_iter().flatten());
    let found = except.any(|net| net == cidr);
    found.then_some(()).ok_or_else(|| format!("{} opens {cidr}", policy["metadata"]["name"]))
}

/// The texts of a field of each entry of a list.
fn strings<'a>(list: &'a Value, field: &str) -> BTreeSet<&'a str> {
    let entries = list.as_array().into_iter().flatten();
    entries.flat_map(|entry| entry[field].as_array().into_iter().flatten()).map(text).collect()
}

/// Whether a quantity or text is another one, be it written as a number.
fn same(found: &Value, wanted: &Value) -> Result<(), String> {
    let plain = |value: &Value| value.to_string().trim_matches('"').to_owned();
    if plain(found) == plain(wanted) { Ok(()) } else { Err(format!("{found} is not {wanted}")) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// How many of each of our kinds.
fn count<'a>(frames: impl Iterator<Item = &'a Frame>) -> BTreeMap<String, usize> {
    frames.fold(BTreeMap::new(), |mut counts, frame| {
        *counts.entry(text(&frame.object["kind"]).to_owned()).or_default() += 1;
        counts
    })
}

#[test]
fn what_nobody_has_looked_at_is_in_progress() {
    let fresh = || FILM.ours().filter(|frame| frame.at < FILM.woken);
    assert_eq!(count(fresh()).len(), OURS.len(), "each kind was there");
    for frame in fresh() {
        assert_eq!(frame.verdict, "InProgress", "{}", frame.shown());
    }
    let (place, gone, back) = &FILM.unseen;
    let unseen = |frame: &&Frame| frame.place() == *place && frame.at > *gone && frame.at < *back;
    let unseen: Vec<_> = FILM.ours().filter(unseen).collect();
    assert!(!unseen.is_empty());
    for frame in unseen {
        assert_eq!(frame.verdict, "InProgress", "{}", frame.shown());
    }
}

#[test]
fn current_is_said_only_when_all_that_is_planned_for_that_generation_stands() {
    let mut world = World::default();
    let mut current = Vec::new();
    let mut lies = Vec::new();
    // What holds nothing yet is seen as such, or this would prove nothing.
    let mut lacking = BTreeSet::new();
    for frame in FILM.before_the_end() {
        world.show(frame);
        if frame.is_gone || !frame.is_ours() {
            continue;
        }
        let holds = world.holds(&frame.object);
        if frame.verdict == "Current" {
            current.push(frame);
            lies.extend(holds.err().map(|lacks| format!("{lacks}, but {}", frame.shown())));
        } else if holds.is_err() {
            lacking.insert((frame.place(), frame.generation()));
        }
    }
    assert!(lies.is_empty(), "{} of {}:\n{}", lies.len(), current.len(), lies.join("\n"));
    assert_eq!(count(current.iter().copied()).len(), OURS.len(), "each kind was Current");
    for (kind, namespace, name, _) in CHANGES {
        let place = place(kind, namespace, name);
        let of = current.iter().filter(|frame| frame.place() == place);
        let generations: BTreeSet<i64> = of.map(|frame| frame.generation()).collect();
        assert!(generations.len() > 1, "{place:?} was Current for {generations:?}");
        let last = generations.last().copied().unwrap_or_default();
        let lacked = lacking.iter().filter(|(of, generation)| *of == place && *generation <= last);
        assert!(lacked.count() > 1, "{place:?} held all from the beginning");
    }
}

#[test]
fn a_spec_that_cannot_work_has_failed_within_five_seconds_and_is_current_once_mended() {
    for (place, since) in &FILM.spoilt {
        let mut after = FILM.ours().filter(|frame| frame.place() == *place && frame.at > *since);
        let failed = after.find(|frame| frame.verdict == "Failed").expect("it fails");
        let took = failed.at.duration_since(*since);
        assert!(took < TOLD, "it took {took:?}: {}", failed.shown());
        let message = text(&condition(&failed.object, "Stalled")["message"]);
        assert!(message.contains("host bits"), "{message}");
    }
    let (project, _) = &FILM.spoilt[0];
    let last = FILM.before_the_end().filter(|frame| frame.place() == *project).last();
    assert_eq!(last.expect("a frame").verdict, "Current");
}

#[test]
fn observed_generation_is_never_ahead_and_never_falls() {
    let mut seen: BTreeMap<&str, i64> = BTreeMap::new();
    for frame in FILM.ours() {
        let observed = frame.object["status"]["observedGeneration"].as_i64();
        let observed = observed.unwrap_or_else(|| panic!("it is missing: {}", frame.shown()));
        assert!(observed <= frame.generation(), "{}", frame.shown());
        let before = seen.insert(text(&frame.object["metadata"]["uid"]), observed);
        assert!(before.is_none_or(|before| before <= observed), "{before:?} {}", frame.shown());
        let conditions = frame.object["status"]["conditions"].as_array();
        for condition in conditions.into_iter().flatten() {
            let of = condition["observedGeneration"].as_i64().expect("each says of which");
            assert!(of <= frame.generation(), "{}", frame.shown());
        }
    }
}

#[test]
fn what_is_current_stays_so_until_it_is_changed_and_nothing_moves_at_rest() {
    let mut current: BTreeMap<&str, i64> = BTreeMap::new();
    for frame in FILM.before_the_end().filter(|frame| frame.is_ours()) {
        let uid = text(&frame.object["metadata"]["uid"]);
        if frame.verdict == "Current" {
            current.insert(uid, frame.generation());
        } else {
            let flaps = current.get(uid) == Some(&frame.generation());
            assert!(!flaps, "it was Current before: {}", frame.shown());
        }
    }
    let (begins, ends) = FILM.rest;
    let moved = FILM.ours().find(|frame| frame.at > begins && frame.at < ends);
    assert!(moved.is_none(), "{}", moved.map(Frame::shown).unwrap_or_default());
}

#[test]
fn what_is_being_deleted_is_terminating() {
    let going = |frame: &&Frame| !frame.object["metadata"]["deletionTimestamp"].is_null();
    let going: Vec<_> = FILM.ours().filter(going).collect();
    assert!(!going.is_empty());
    for frame in going {
        assert_eq!(frame.verdict, "Terminating", "{}", frame.shown());
    }
}
