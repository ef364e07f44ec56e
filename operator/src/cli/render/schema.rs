//! What the CRDs refuse before any controller looks: wrong types, missing fields, empty lists, too much.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::fault::{MAX_FAULTS, Step, mend, way};
use super::node::{At, Node, Shape};

static DEFINITIONS: LazyLock<[CustomResourceDefinition; 5]> =
    LazyLock::new(catalyst_crds::definitions);

/// The five kinds.
pub(super) fn kinds() -> Vec<&'static str> {
    DEFINITIONS.iter().map(|definition| definition.spec.names.kind.as_str()).collect()
}

/// Whether objects of a kind lie in a namespace.
pub(super) fn is_namespaced(kind: &str) -> bool {
    DEFINITIONS.iter().any(|definition| {
        definition.spec.names.kind == kind && definition.spec.scope == "Namespaced"
    })
}

/// Whether the API server puts an empty `spec` where there is none.
pub(super) fn defaults_spec(kind: &str) -> bool {
    let spec = of(kind).and_then(|schema| schema.properties.as_ref()?.get("spec"));
    spec.is_some_and(|spec| spec.default.is_some())
}

/// The schema of a kind.
fn of(kind: &str) -> Option<&'static JSONSchemaProps> {
    let definition = DEFINITIONS.iter().find(|definition| definition.spec.names.kind == kind)?;
    definition.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// The fields that a kind has at the end of a way.
pub(super) fn fields(kind: &str, steps: &[Step]) -> Vec<&'static str> {
    let end = steps.iter().try_fold(of(kind), |schema, step| {
        let schema = schema?;
        match step {
            Step::Field(name) => Some(schema.properties.as_ref()?.get(name)),
            Step::Index(_) => Some(items(schema)),
        }
    });
    let properties = end.flatten().and_then(|schema| schema.properties.as_ref());
    properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// Everything that the CRD of a kind refuses in an object of it.
pub(super) fn check(kind: &str, object: &Node) -> Vec<(At, String)> {
    let mut check = Check { faults: Vec::new(), steps: Vec::new() };
    let Some(schema) = of(kind) else { return Vec::new() };
    // What holds for metadata, the API server knows, and status is its own.
    let spec = schema.properties.as_ref().and_then(|properties| properties.get("spec"));
    match (spec, object.get("spec")) {
        (Some(schema), Some(spec)) => check.inside(Step::Field("spec".into()), schema, spec),
        _ => check.say(object.at, "lacks spec: add it"),
    }
    check.faults
}

struct Check {
    faults: Vec<(At, String)>,
    steps: Vec<Step>,
}

impl Check {
    fn say(&mut self, at: At, what: impl AsRef<str>) {
        if self.faults.len() < MAX_FAULTS {
            let message = format!("{} {}", way(&self.steps), what.as_ref());
            self.faults.push((at, message.trim_start().to_string()));
        }
    }

    fn inside(&mut self, step: Step, schema: &JSONSchemaProps, node: &Node) {
        self.steps.push(step);
        self.value(schema, node);
        self.steps.pop();
    }

    fn value(&mut self, schema: &JSONSchemaProps, node: &Node) {
        if matches!(node.shape, Shape::Null) {
            if schema.nullable != Some(true) {
                self.say(node.at, "is empty: give it a value, or remove it");
            }
            return;
        }
        let wanted = schema.type_.as_deref().unwrap_or_default();
        match (wanted, &node.shape) {
            ("object", Shape::Map(_)) => self.object(schema, node),
            ("array", Shape::List(_)) => self.array(schema, node),
            ("string", Shape::Text(text)) => self.text(schema, node.at, text),
            ("integer" | "", Shape::Signed(value)) => self.number(schema, node.at, *value),
            ("boolean", Shape::Bool(_)) | ("", Shape::Text(_)) => {}
            _ => self.say(
                node.at,
                format!("is {}: write {}", shown(&node.shape), described(wanted, &node.shape)),
            ),
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, node: &Node) {
        let entries = node.entries();
        self.size(schema, node.at, entries.len(), (schema.min_properties, schema.max_properties));
        for field in schema.required.iter().flatten().filter(|field| node.get(field).is_none()) {
            let about = schema.properties.as_ref().and_then(|properties| properties.get(field));
            let about = about
                .and_then(|schema| schema.description.as_deref())
                .map(first_sentence)
                .unwrap_or_default();
            self.say(node.at, format!("lacks {field}: {about}").trim_end_matches([':', ' ']));
        }
        for (key, value) in entries {
            let of_field =
                schema.properties.as_ref().and_then(|properties| properties.get(&key.name));
            let of_any = match &schema.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(schema.as_ref()),
                _ => None,
            };
            // A field that nobody knows is reported where types are read.
            if let Some(schema) = of_field.or(of_any) {
                self.inside(Step::Field(key.name.clone()), schema, value);
            }
        }
    }

    fn array(&mut self, schema: &JSONSchemaProps, node: &Node) {
        let list = node.items();
        self.size(schema, node.at, list.len(), (schema.min_items, schema.max_items));
        let Some(items) = items(schema) else { return };
        for (index, item) in list.iter().enumerate() {
            self.inside(Step::Index(index), items, item);
        }
        self.doubles(schema, list);
    }

    /// Two entries of one key, or of one value, where appliers could not tell them apart.
    fn doubles(&mut self, schema: &JSONSchemaProps, list: &[Node]) {
        let key = schema.x_kubernetes_list_map_keys.as_ref().and_then(|keys| keys.first());
        let value = |node: &Node| match (key, &node.shape) {
            (Some(key), _) => node.text(key).map(Into::into),
            (None, Shape::Text(text))
                if schema.x_kubernetes_list_type.as_deref() == Some("set") =>
            {
                Some(text.clone())
            }
            _ => None,
        };
        let mut seen = std::collections::HashMap::<String, usize>::new();
        for (index, item) in list.iter().enumerate() {
            let Some(value) = value(item) else { continue };
            match seen.get(&value) {
                Some(first) => {
                    let mend = if key.is_some() { "name it otherwise" } else { "remove one" };
                    let message =
                        format!("is \"{}\", as in [{first}]: {mend}", value.escape_debug());
                    let key = key.map(|key| Step::Field(key.clone()));
                    let steps = self.steps.len();
                    self.steps.extend([Some(Step::Index(index)), key].into_iter().flatten());
                    self.say(item.at, message);
                    self.steps.truncate(steps);
                }
                None => drop(seen.insert(value, index)),
            }
        }
    }

    fn size(
        &mut self,
        schema: &JSONSchemaProps,
        at: At,
        size: usize,
        (min, max): (Option<i64>, Option<i64>),
    ) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if size < min.unwrap_or_default() {
            let absent = schema
                .description
                .as_deref()
                .and_then(absence)
                .map(|absent| format!(", which {absent}"));
            self.say(
                at,
                format!("is empty: name at least one, or remove it{}", absent.unwrap_or_default()),
            );
        }
        if let Some(max) = max.filter(|max| size > *max) {
            self.say(at, format!("has {size} entries: write at most {max}"));
        }
    }

    fn text(&mut self, schema: &JSONSchemaProps, at: At, text: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if length < schema.min_length.unwrap_or_default() {
            self.say(at, "is an empty text: write one, or remove it");
        }
        if let Some(max) = schema.max_length.filter(|max| length > *max) {
            self.say(at, format!("has {length} characters: write at most {max}"));
        }
        let words: Vec<&str> =
            schema.enum_.iter().flatten().filter_map(|word| word.0.as_str()).collect();
        if !words.is_empty() && !words.contains(&text) {
            self.say(at, format!("is \"{}\": {}", text.escape_debug(), mend(text, &words)));
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "the bounds are small, and what is far out stays out"
    )]
    fn number(&mut self, schema: &JSONSchemaProps, at: At, value: i64) {
        let wide = f64::from(i32::MAX);
        let least = schema.minimum.unwrap_or(f64::from(i32::MIN));
        let most = schema.maximum.unwrap_or(wide);
        let is_narrow = schema.format.as_deref() == Some("int32");
        if (value as f64) < least || (is_narrow && value as f64 > most) {
            let mend = if most < wide {
                format!("write {least} to {most}")
            } else {
                format!("write {least} or more")
            };
            self.say(at, format!("is {value}: {mend}"));
        }
    }
}

/// A value as a message shows it.
fn shown(shape: &Shape) -> String {
    match shape {
        Shape::Null => "empty".into(),
        Shape::Bool(value) => value.to_string(),
        Shape::Signed(value) => format!("the number {value}"),
        Shape::Unsigned(value) => format!("the number {value}"),
        Shape::Float(value) => format!("the number {value}"),
        Shape::Text(text) => format!("\"{}\"", text.escape_debug()),
        Shape::List(_) => "a list".into(),
        Shape::Map(_) => "a map".into(),
    }
}

/// What belongs there, with the value that stands there where it only lacks its form.
fn described(wanted: &str, found: &Shape) -> String {
    match (wanted, found) {
        ("string", Shape::Bool(value)) => format!("it in quotes, \"{value}\""),
        ("string", Shape::Signed(value)) => format!("it in quotes, \"{value}\""),
        ("string" | "", Shape::Float(value)) => format!("it in quotes, \"{value}\""),
        ("string", _) => "a text".into(),
        ("integer", Shape::Text(text)) if text.parse::<i64>().is_ok() => {
            format!("it without quotes, {text}")
        }
        ("integer", _) => "a whole number".into(),
        ("boolean", _) => "true or false".into(),
        ("array", Shape::Text(text)) if text.len() < 64 => {
            format!("a list, [\"{}\"]", text.escape_debug())
        }
        ("array", _) => "a list".into(),
        ("object", _) => "a map of fields".into(),
        _ => "a number or a text".into(),
    }
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// From "Absent means every app of the project; an empty list is refused." the part that says it.
fn absence(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Absent ")?;
    rest.split(['.', ';']).next()
}
