//! From documents to objects: which kinds are ours, which are facts that stand, and what is wrong with each.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use catalyst_crds::{AppIdentity, EgressPolicy, GROUP, Project, Region, SecretRef, VERSION};
use catalyst_plan::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use super::decode::decode;
use super::fault::{Fault, Step, mend, way};
use super::input::Source;
use super::node::{At, Node, Shape, parse};
use super::{offline, schema};

/// What the files hold.
#[derive(Default)]
pub(super) struct Manifests {
    pub regions: Vec<Region>,
    pub projects: Vec<Project>,
    pub apps: Vec<AppIdentity>,
    pub policies: Vec<EgressPolicy>,
    pub references: Vec<SecretRef>,
    /// Namespaces that stand.
    pub namespaces: Vec<Namespace>,
    /// What the region's secret namespace holds.
    pub secrets: Vec<Secret>,
    /// How many objects of other kinds there were.
    pub ignored: BTreeMap<String, usize>,
    pub faults: Vec<Fault>,
    seen: HashMap<String, String>,
}

/// What Kubernetes itself lets people write in metadata.
const METADATA: [&str; 11] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
];

impl Manifests {
    /// Reads everything, and gathers what is wrong with any of it.
    pub fn read(sources: &[Source]) -> Self {
        let mut all = Self::default();
        for source in sources {
            let (documents, faults) = parse(&source.bytes);
            all.faults.extend(faults.into_iter().map(|(at, message)| Fault::new(&source.name, at, message)));
            for document in documents {
                all.document(&source.name, document);
            }
        }
        all.faults.sort();
        all.faults.dedup();
        all
    }

    fn say(&mut self, file: &str, at: At, message: impl Into<String>) {
        self.faults.push(Fault::new(file, at, message));
    }

    fn document(&mut self, file: &str, mut node: Node) {
        let before = self.faults.len();
        self.doubles(file, &node, &mut Vec::new());
        if self.faults.len() > before {
            return;
        }
        if is_kustomization(file) && node.get("metadata").is_none() {
            *self.ignored.entry("Kustomization".into()).or_default() += 1;
            return;
        }
        let (Some(version), Some(kind)) = (node.text("apiVersion"), node.text("kind")) else {
            return self.say(file, node.at, "is no Kubernetes object: write its apiVersion and kind, or leave the file out");
        };
        let (version, kind) = (version.to_string(), kind.to_string());
        let (group, number) = version.split_once('/').unwrap_or(("", &version));
        if kind.ends_with("List") && matches!(node.get("items"), Some(Node { shape: Shape::List(_), .. })) {
            if let Some(Node { shape: Shape::List(items), .. }) = node.remove("items") {
                items.into_iter().for_each(|item| self.document(file, item));
            }
        } else if group == GROUP {
            let kinds = schema::kinds();
            if !kinds.contains(&kind.as_str()) {
                self.say(file, node.at, format!("kind is \"{}\", which {GROUP} lacks: {}", kind.escape_debug(), mend(&kind, &kinds)));
            } else if number == VERSION {
                self.ours(file, &kind, node);
            } else {
                self.say(file, node.at, format!("apiVersion is \"{}\": write {GROUP}/{VERSION}", version.escape_debug()));
            }
        } else if version == "v1" && kind == "Namespace" {
            self.namespaces.extend(self.fact(file, node));
        } else if version == "v1" && kind == "Secret" && namespace_of(&node) == Some(names::SECRETS_NAMESPACE) {
            let secret = self.secret(file, node);
            self.secrets.extend(secret);
        } else {
            *self.ignored.entry(kind).or_default() += 1;
        }
    }

    /// One of our five kinds.
    fn ours(&mut self, file: &str, kind: &str, mut node: Node) {
        // What the API server writes itself is neither asked nor judged.
        node.remove("status");
        if kind != "Region" {
            node.default_map("spec");
        }
        let refused = schema::check(kind, &node);
        let is_sound = refused.is_empty();
        self.faults.extend(refused.into_iter().map(|(at, message)| Fault::new(file, at, message)));
        match kind {
            "Region" => self.regions.extend(self.object(file, kind, &node, is_sound)),
            "Project" => self.projects.extend(self.object(file, kind, &node, is_sound)),
            "AppIdentity" => self.apps.extend(self.object(file, kind, &node, is_sound)),
            "EgressPolicy" => self.policies.extend(self.object(file, kind, &node, is_sound)),
            _ => self.references.extend(self.object(file, kind, &node, is_sound)),
        }
    }

    fn fact<K: kube::Resource<DynamicType = ()> + DeserializeOwned>(&mut self, file: &str, mut node: Node) -> Option<K> {
        node.remove("status");
        self.object(file, &K::kind(&()), &node, true)
    }

    /// A Secret's values are taken by hand: what serde says of one that does not fit would show it.
    fn secret(&mut self, file: &str, mut node: Node) -> Option<Secret> {
        let data = node.remove("data");
        let texts = node.remove("stringData");
        let mut secret: Secret = self.fact(file, node)?;
        let mut values = BTreeMap::new();
        for (field, map) in [("data", &data), ("stringData", &texts)] {
            for (key, value) in map.iter().flat_map(Node::entries) {
                let Shape::Text(text) = &value.shape else {
                    self.say(file, value.at, format!("{} is no text: write one in quotes", way(&[Step::Field(field.into()), Step::Field(key.name.clone())])));
                    continue;
                };
                match encoded(field, text) {
                    Some(bytes) => drop(values.insert(key.name.clone(), bytes)),
                    None => self.say(file, value.at, format!("data.{} is no base64: write it so, or under stringData as it is", key.name.escape_debug())),
                }
            }
        }
        secret.data = Some(values);
        Some(secret)
    }

    fn object<K: kube::Resource<DynamicType = ()> + DeserializeOwned>(
        &mut self,
        file: &str,
        kind: &str,
        node: &Node,
        is_sound: bool,
    ) -> Option<K> {
        let (read, unknown) = decode::<K>(node);
        for steps in unknown {
            self.unknown(file, kind, node, &steps);
        }
        let mut object = match read {
            Ok(object) => object,
            // The schema has told it already, and better.
            Err(wrong) => {
                if is_sound {
                    let message = format!("{} {}", way(&wrong.steps()), wrong.message);
                    self.say(file, wrong.at, message.trim_start());
                }
                return None;
            }
        };
        let is_namespaced = schema::is_namespaced(kind) || kind == "Secret";
        let (name, namespace) = self.place(file, node, is_namespaced)?;
        let id = offline::uid(kind, namespace.as_deref(), &name);
        let place = format!("{file}:{}", node.at.line);
        if let Some(first) = self.seen.insert(id.clone(), place) {
            self.say(file, node.at, format!("{kind} {name} is there twice: remove one, the first is at {first}"));
            return None;
        }
        let meta = object.meta_mut();
        *meta = ObjectMeta {
            name: Some(name),
            namespace,
            uid: Some(id),
            generation: Some(1),
            labels: meta.labels.take(),
            annotations: meta.annotations.take(),
            creation_timestamp: meta.creation_timestamp.take(),
            ..ObjectMeta::default()
        };
        Some(object)
    }

    /// Name and namespace, if they are such as the API server takes.
    fn place(&mut self, file: &str, node: &Node, is_namespaced: bool) -> Option<(String, Option<String>)> {
        let metadata = node.get("metadata").unwrap_or(node);
        let mut take = |field: &str, most: usize, example: &str, dots: bool| {
            let Some(value) = metadata.text(field) else {
                self.say(file, metadata.at, format!("lacks metadata.{field}: add it, such as {example}"));
                return None;
            };
            if is_dns(value, most, dots) {
                return Some(value.to_string());
            }
            let at = metadata.get(field).map_or(metadata.at, |node| node.at);
            let also = if dots { ", dots" } else { "" };
            self.say(
                file,
                at,
                format!(
                    "metadata.{field} is \"{}\": write at most {most} lowercase letters, digits{also} and dashes, beginning and ending with a letter or digit",
                    value.escape_debug()
                ),
            );
            None
        };
        let name = take("name", 253, "shop", true);
        let namespace = if is_namespaced { Some(take("namespace", 63, "prj-shop", false)?) } else { None };
        Some((name?, namespace))
    }

    fn unknown(&mut self, file: &str, kind: &str, node: &Node, steps: &[Step]) {
        if let [Step::Field(field)] = steps
            && ["apiVersion", "kind"].contains(&field.as_str())
        {
            return;
        }
        let Some((Step::Field(name), parents)) = steps.split_last() else { return };
        let known = match parents {
            [] => vec!["metadata", "spec"],
            [Step::Field(metadata)] if metadata == "metadata" => METADATA.to_vec(),
            _ => schema::fields(kind, parents),
        };
        let at = find(node, steps).unwrap_or(node.at);
        self.say(file, at, format!("{} is no field of {kind}: {}", way(steps), mend(name, &known)));
    }

    /// Every key that is there twice.
    fn doubles(&mut self, file: &str, node: &Node, steps: &mut Vec<Step>) {
        let mut seen = HashMap::new();
        for (key, value) in node.entries() {
            steps.push(Step::Field(key.name.clone()));
            match seen.get(&key.name) {
                Some(line) => self.say(file, key.at, format!("{} is there twice: remove one, the first is in line {line}", way(steps))),
                None => drop(seen.insert(&key.name, key.at.line)),
            }
            self.doubles(file, value, steps);
            steps.pop();
        }
        for (index, item) in node.items().iter().enumerate() {
            steps.push(Step::Index(index));
            self.doubles(file, item, steps);
            steps.pop();
        }
    }
}

/// Where the key stands that a way ends in.
fn find(node: &Node, steps: &[Step]) -> Option<At> {
    let (step, rest) = steps.split_first()?;
    let (at, inner) = match step {
        Step::Field(name) => {
            let (key, node) = node.entries().iter().find(|(key, _)| key.name == *name)?;
            (key.at, node)
        }
        Step::Index(index) => node.items().get(*index).map(|node| (node.at, node))?,
    };
    if rest.is_empty() { Some(at) } else { find(inner, rest) }
}

fn namespace_of(node: &Node) -> Option<&str> {
    node.get("metadata")?.text("namespace")
}

fn encoded(field: &str, text: &str) -> Option<ByteString> {
    use base64::Engine as _;
    if field == "stringData" {
        return Some(ByteString(text.into()));
    }
    // Kubernetes takes base64 with line breaks in it.
    let packed: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(packed).ok().map(ByteString)
}

fn is_kustomization(file: &str) -> bool {
    let stem = Path::new(file).file_stem().unwrap_or_default();
    stem.eq_ignore_ascii_case("kustomization")
}

/// A DNS label, or with dots a DNS subdomain.
fn is_dns(name: &str, most: usize, dots: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(fits) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= most && if dots { name.split('.').all(is_label) } else { is_label(name) }
}

impl Manifests {
    /// How many objects of ours there are.
    pub fn count(&self) -> usize {
        self.regions.len() + self.projects.len() + self.apps.len() + self.policies.len() + self.references.len()
    }

    /// The places of the namespaces that stand, with their labels.
    pub fn standing(&self) -> impl Iterator<Item = (String, BTreeMap<String, String>)> {
        self.namespaces.iter().map(|namespace| (namespace.name_any(), namespace.labels().clone()))
    }
}
