//! One object, read strictly: no key twice, no field that nobody knows, a name that the API server takes.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::decode::decode;
use super::fault::{Fault, MAX_FAULTS, Step, mend, way};
use super::node::{At, Node};
use super::{schema, standing};

/// What Kubernetes itself lets people write in metadata.
const METADATA: [&str; 5] = ["name", "namespace", "labels", "annotations", "finalizers"];

/// Reads objects and gathers what is wrong with them.
#[derive(Default)]
pub(super) struct Strict {
    pub(super) faults: Vec<Fault>,
    /// Where each object was first, by UID.
    seen: HashMap<String, String>,
}

impl Strict {
    /// Whether more is wrong than is told.
    pub(super) fn is_full(&self) -> bool {
        self.faults.len() >= MAX_FAULTS
    }

    pub(super) fn say(&mut self, file: &str, at: At, message: impl Into<String>) {
        if !self.is_full() {
            self.faults.push(Fault::new(file, at, message));
        }
    }

    /// One of our kinds.
    pub(super) fn ours<K>(&mut self, file: &str, mut node: Node) -> Option<K>
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned,
    {
        let kind = K::kind(&());
        if schema::defaults_spec(&kind) {
            node.default_map("spec");
        }
        let refused = schema::check(&kind, &node);
        let is_sound = refused.is_empty();
        for (at, message) in refused {
            self.say(file, at, message);
        }
        self.object(file, node, schema::is_namespaced(&kind), is_sound)
    }

    /// One object of any kind. `is_sound` is whether nothing is said yet of its types.
    pub(super) fn object<K>(
        &mut self,
        file: &str,
        mut node: Node,
        is_namespaced: bool,
        is_sound: bool,
    ) -> Option<K>
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned,
    {
        let kind = K::kind(&());
        // What the API server writes itself is neither asked nor judged.
        node.remove("status");
        let (read, unknown) = decode::<K>(&node);
        for steps in unknown {
            self.unknown(file, &kind, &node, &steps);
        }
        let place = self.place(file, &node, is_namespaced);
        let mut object = match read {
            Ok(object) => object,
            Err(wrong) => {
                // Else the schema has told it already, and better.
                if is_sound {
                    let message = format!("{} {}", way(&wrong.steps()), wrong.message);
                    self.say(file, wrong.at, message.trim_start());
                }
                return None;
            }
        };
        let (name, namespace) = place?;
        let uid = standing::uid(&kind, namespace.as_deref(), &name);
        if let Some(first) = self.seen.get(&uid) {
            let message =
                format!("{kind} {name} is there twice: remove one, the first is at {first}");
            self.say(file, node.at, message);
            return None;
        }
        self.seen.insert(uid.clone(), format!("{file}:{}", node.at.line));
        let meta = object.meta_mut();
        *meta = ObjectMeta {
            name: Some(name),
            namespace,
            uid: Some(uid),
            generation: Some(1),
            labels: meta.labels.take(),
            annotations: meta.annotations.take(),
            creation_timestamp: meta.creation_timestamp.take(),
            ..ObjectMeta::default()
        };
        Some(object)
    }

    /// Name and namespace, if they are such as the API server takes.
    fn place(
        &mut self,
        file: &str,
        node: &Node,
        is_namespaced: bool,
    ) -> Option<(String, Option<String>)> {
        let name = self.name(file, node, "name", "shop");
        if !is_namespaced {
            return Some((name?, None));
        }
        let namespace = self.name(file, node, "namespace", "prj-shop");
        Some((name?, Some(namespace?)))
    }

    fn name(&mut self, file: &str, node: &Node, field: &str, example: &str) -> Option<String> {
        let metadata = node.get("metadata").unwrap_or(node);
        let Some(value) = metadata.text(field) else {
            self.say(
                file,
                metadata.at,
                format!("metadata.{field} is missing: write one, such as {example}"),
            );
            return None;
        };
        let (most, dots) = if field == "name" { (253, ", dots") } else { (63, "") };
        if is_dns(value, most, !dots.is_empty()) {
            return Some(value.into());
        }
        let at = metadata.get(field).map_or(metadata.at, |node| node.at);
        let value = value.escape_debug();
        self.say(
            file,
            at,
            format!(
                "metadata.{field} is \"{value}\": write at most {most} lowercase letters, digits{dots} and dashes, \
                 beginning and ending with a letter or digit"
            ),
        );
        None
    }

    fn unknown(&mut self, file: &str, kind: &str, node: &Node, steps: &[Step]) {
        let Some((Step::Field(name), parents)) = steps.split_last() else { return };
        let known = match parents {
            [] if ["apiVersion", "kind"].contains(&name.as_str()) => return,
            [] if kind == "Secret" => vec!["metadata", "type", "data", "stringData", "immutable"],
            [] => vec!["metadata", "spec"],
            [Step::Field(metadata)] if metadata == "metadata" => METADATA.to_vec(),
            _ => schema::fields(kind, parents),
        };
        let at = find(node, steps).unwrap_or(node.at);
        self.say(file, at, format!("{} is no field of {kind}: {}", way(steps), mend(name, &known)));
    }

    /// Every key that is there twice. Returns whether there is any.
    pub(super) fn doubles(&mut self, file: &str, node: &Node) -> bool {
        let before = self.faults.len();
        self.doubles_within(file, node, &mut Vec::new());
        self.faults.len() > before
    }

    fn doubles_within(&mut self, file: &str, node: &Node, steps: &mut Vec<Step>) {
        let mut seen = HashMap::new();
        for (key, value) in node.entries() {
            steps.push(Step::Field(key.name.clone()));
            match seen.get(&key.name) {
                Some(line) => {
                    let message = format!(
                        "{} is there twice: remove one, the first is in line {line}",
                        way(steps)
                    );
                    self.say(file, key.at, message);
                }
                None => drop(seen.insert(&key.name, key.at.line)),
            }
            self.doubles_within(file, value, steps);
            steps.pop();
        }
        for (index, item) in node.items().iter().enumerate() {
            steps.push(Step::Index(index));
            self.doubles_within(file, item, steps);
            steps.pop();
        }
    }
}

/// Where the key stands that a way ends in.
pub(super) fn find(node: &Node, steps: &[Step]) -> Option<At> {
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

/// A DNS label, or with dots a DNS subdomain.
fn is_dns(name: &str, most: usize, dots: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= most && if dots { name.split('.').all(is_label) } else { is_label(name) }
}
