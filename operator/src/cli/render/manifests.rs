//! From documents to objects: which kinds are ours, which are facts that stand, which are none of our business.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine as _;
use catalyst_crds::dapr::Configuration;
use catalyst_crds::{AppIdentity, EgressPolicy, GROUP, Project, Region, SecretRef, VERSION};
use catalyst_plan::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};

use super::fault::{Fault, Step, mend, way};
use super::input::Source;
use super::node::{At, Node, Shape};
use super::schema;
use super::strict::Strict;
use super::yaml::parse;

/// How many objects are planned from at once: a large region has some thousand.
const MAX_OBJECTS: usize = 20_000;

/// What the files hold.
#[derive(Default)]
pub(super) struct Manifests {
    pub(super) regions: Vec<Region>,
    pub(super) projects: Vec<Project>,
    pub(super) apps: Vec<AppIdentity>,
    pub(super) policies: Vec<EgressPolicy>,
    pub(super) references: Vec<SecretRef>,
    /// Namespaces that stand.
    pub(super) namespaces: Vec<Namespace>,
    /// What the region's secret namespace holds.
    pub(super) secrets: Vec<Secret>,
    /// What apps may name as their `appConfig`.
    pub(super) configurations: Vec<Configuration>,
    /// How many objects of other kinds there were.
    pub(super) ignored: BTreeMap<String, usize>,
    strict: Strict,
}

impl Manifests {
    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong with any of it.
    pub(super) fn read(sources: &[Source], mut faults: Vec<Fault>) -> Result<Self, Vec<Fault>> {
        let mut all = Self::default();
        for source in sources {
            parse(&source.bytes, |document| {
                match document {
                    Ok(node) => all.document(&source.name, node),
                    Err((at, message)) => all.strict.say(&source.name, at, message),
                }
                let Some(excess) = all.excess() else { return ControlFlow::Continue(()) };
                faults.push(Fault::new(&source.name, At::default(), excess));
                ControlFlow::Break(())
            });
        }
        faults.append(&mut all.strict.faults);
        faults.sort();
        faults.dedup();
        if faults.is_empty() { Ok(all) } else { Err(faults) }
    }

    /// How many objects of ours there are.
    pub(super) fn count(&self) -> usize {
        self.regions.len()
            + self.projects.len()
            + self.apps.len()
            + self.policies.len()
            + self.references.len()
    }

    /// Why no more is read, if so.
    fn excess(&self) -> Option<&'static str> {
        if self.strict.is_full() {
            return Some("has more errors than are told here: mend these first");
        }
        let kept =
            self.count() + self.namespaces.len() + self.secrets.len() + self.configurations.len();
        (kept > MAX_OBJECTS).then_some("makes it more than 20000 objects: render fewer at a time")
    }

    fn document(&mut self, file: &str, mut node: Node) {
        if self.excess().is_some() || self.strict.doubles(file, &node) {
            return;
        }
        let (Some(version), Some(kind)) = (node.text("apiVersion"), node.text("kind")) else {
            if is_kustomization(file) {
                *self.ignored.entry("Kustomization".into()).or_default() += 1;
            } else {
                self.strict.say(
                    file,
                    node.at,
                    "is no Kubernetes object: write its apiVersion and kind",
                );
            }
            return;
        };
        let (version, kind) = (version.to_string(), kind.to_string());
        let is_list = kind.ends_with("List")
            && matches!(node.get("items"), Some(Node { shape: Shape::List(_), .. }));
        if is_list && let Some(Node { shape: Shape::List(items), .. }) = node.remove("items") {
            for item in items {
                self.document(file, item);
            }
        } else if version.split('/').next() == Some(GROUP) {
            self.ours(file, &version, &kind, node);
        } else if version == "v1" && kind == "Namespace" {
            self.namespaces.extend(self.strict.object(file, node, false, true));
        } else if version == "dapr.io/v1alpha1" && kind == "Configuration" {
            self.configurations.extend(self.strict.object(file, node, true, true));
        } else if version == "v1"
            && kind == "Secret"
            && namespace_of(&node) == Some(names::SECRETS_NAMESPACE)
        {
            self.secrets.extend(secret(&mut self.strict, file, node));
        } else {
            *self.ignored.entry(kind).or_default() += 1;
        }
    }

    fn ours(&mut self, file: &str, version: &str, kind: &str, node: Node) {
        let at = |field: &str| node.get(field).map_or(node.at, |node| node.at);
        if version != format!("{GROUP}/{VERSION}") {
            let message =
                format!("apiVersion is \"{}\": write {GROUP}/{VERSION}", version.escape_debug());
            return self.strict.say(file, at("apiVersion"), message);
        }
        match kind {
            "Region" => self.regions.extend(self.strict.ours(file, node)),
            "Project" => self.projects.extend(self.strict.ours(file, node)),
            "AppIdentity" => self.apps.extend(self.strict.ours(file, node)),
            "EgressPolicy" => self.policies.extend(self.strict.ours(file, node)),
            "SecretRef" => self.references.extend(self.strict.ours(file, node)),
            _ => {
                let mend = mend(kind, &schema::kinds());
                let message =
                    format!("kind is \"{}\", which {GROUP} lacks: {mend}", kind.escape_debug());
                self.strict.say(file, at("kind"), message);
            }
        }
    }
}

/// The values of a Secret are taken by hand: what a library says of one that does not fit would show it.
fn secret(strict: &mut Strict, file: &str, mut node: Node) -> Option<Secret> {
    let mut values = BTreeMap::new();
    for field in ["data", "stringData"] {
        let map = node.remove(field);
        for (key, value) in map.iter().flat_map(Node::entries) {
            let way = || way(&[Step::Field(field.into()), Step::Field(key.name.clone())]);
            match &value.shape {
                Shape::Text(text) if field == "stringData" => {
                    values.insert(key.name.clone(), ByteString(text.clone().into()));
                }
                Shape::Text(text) => match decoded(text) {
                    Some(bytes) => drop(values.insert(key.name.clone(), bytes)),
                    None => strict.say(
                        file,
                        value.at,
                        format!(
                            "{} is no base64: encode it, or write it under stringData as it is",
                            way()
                        ),
                    ),
                },
                _ => strict.say(file, value.at, format!("{} is no text: put it in quotes", way())),
            }
        }
    }
    let mut secret: Secret = strict.object(file, node, true, true)?;
    secret.data = Some(values);
    Some(secret)
}

/// Kubernetes takes base64 with line breaks in it.
fn decoded(text: &str) -> Option<ByteString> {
    let packed: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(packed).ok().map(ByteString)
}

fn namespace_of(node: &Node) -> Option<&str> {
    node.get("metadata")?.text("namespace")
}

/// kustomize lets its own file go without apiVersion and kind.
fn is_kustomization(file: &str) -> bool {
    Path::new(file).file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization"))
}
