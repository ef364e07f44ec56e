//! The shapes that fields share in the CRDs: what a name, a network or a list of them may be, and how long.
//!
//! Everything is bounded: the API server refuses rules (CEL) whose cost it can't bound.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::condition::Condition;

/// How many rules a list holds: `allowed`, `blocked`.
pub const MAX_RULES: usize = 64;
/// How many networks one entry holds.
pub const MAX_CIDRS: usize = 1024;
/// How many names one entry holds: namespaces, apps.
pub const MAX_NAMES: usize = 256;
/// How many ports or ranges one entry holds.
pub const MAX_PORTS: usize = 64;
/// How many labels select pods.
pub const MAX_LABELS: usize = 32;
/// How many keys of a secret are named.
pub const MAX_KEYS: usize = 256;
/// How many resources a quota limits.
pub const MAX_QUOTAS: usize = 128;
/// How many conditions a status holds.
pub const MAX_CONDITIONS: usize = 32;
/// How long a condition's message may be; a longer one must be cut, or the status is refused.
pub const MAX_MESSAGE: usize = 32_768;
/// How long a list of a status may be; a longer one must be cut, or the status is refused.
pub const MAX_REPORTED: usize = 1024;
/// How long one string in a list of a status may be; a longer one must be cut, or the status is refused.
pub const MAX_REPORTED_TEXT: usize = 4096;

/// A DNS label: a namespace.
const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS subdomain: most other objects.
const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The name of an AppIdentity.
const APP_ID: &str = "^[a-z]([-a-z0-9]{0,56}[a-z0-9])?$";
/// What Kubernetes takes as a label's value, but not the empty one.
const TOKEN: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// What Kubernetes takes as a label's value.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// What Kubernetes takes as a key of a Secret.
const SECRET_KEY: &str = "^[-._A-Za-z0-9]+$";
/// The outline of a network. The plan reads it and names what is wrong with it.
const CIDR: &str = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$";
/// The outline of an address. The plan reads it and names what is wrong with it.
const ADDRESS: &str = "^[0-9A-Fa-f.:]+$";
/// A quantity that is not negative.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
const QUANTITY: &str = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$";
/// A condition's type, as Kubernetes defines it.
const CONDITION_TYPE: &str = "^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$";
/// A condition's reason, as Kubernetes defines it.
const REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";

fn string(pattern: &str, max: usize) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern, "minLength": 1, "maxLength": max })
}

/// A list without order and without doubles, which appliers merge by value.
fn set(items: &Schema, min: usize, max: usize) -> Schema {
    let mut set = json_schema!({
        "type": "array",
        "items": items,
        "maxItems": max,
        "x-kubernetes-list-type": "set",
    });
    if min > 0 {
        set.insert("minItems".into(), min.into());
    }
    set
}

/// A list that appliers merge by a key of its entries.
fn list_map(items: &Schema, key: &str, max: usize) -> Schema {
    json_schema!({
        "type": "array",
        "items": items,
        "maxItems": max,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
    })
}

/// Taken as one. A server-side apply that empties a set or a list-map leaves no field at all, past `minItems`: where
/// absent means more than a few, that would widen.
fn atomic(mut list: Schema) -> Schema {
    list.remove("x-kubernetes-list-map-keys");
    list.insert("x-kubernetes-list-type".into(), "atomic".into());
    list
}

fn map(values: &Schema, max: usize) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": values, "maxProperties": max })
}

/// What the API server makes of a map that loses its last key.
fn nullable(mut map: Schema) -> Schema {
    map.insert("nullable".into(), true.into());
    map
}

pub(crate) fn namespace(_: &mut SchemaGenerator) -> Schema {
    string(DNS_LABEL, 63)
}

pub(crate) fn namespaces(generate: &mut SchemaGenerator) -> Schema {
    set(&namespace(generate), 0, MAX_NAMES)
}

/// Empty means none, absent means `monitoring`.
pub(crate) fn monitoring_namespaces(generate: &mut SchemaGenerator) -> Schema {
    atomic(namespaces(generate))
}

pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    string(DNS_SUBDOMAIN, 253)
}

/// With `<project>.` before it, it is still a name of at most 253.
pub(crate) fn remote_name(_: &mut SchemaGenerator) -> Schema {
    string(DNS_SUBDOMAIN, 193)
}

pub(crate) fn trust_domain(_: &mut SchemaGenerator) -> Schema {
    string(DNS_SUBDOMAIN, 253)
}

/// Not empty: absent means every app, and a template must not widen by accident.
/// Of the minor version whose servers the configuration stream knows.
pub(crate) fn dapr_version(_: &mut SchemaGenerator) -> Schema {
    string(r"^1\.18\.[0-9]{1,3}$", 16)
}

/// A registry with a path or without one, and no tag.
pub(crate) fn registry(_: &mut SchemaGenerator) -> Schema {
    string(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([-a-z0-9._]*[a-z0-9])?)*$",
        200,
    )
}

/// Hours, minutes and seconds, as Go writes them.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    string("^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$", 24)
}

pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    string(QUANTITY, 64)
}

/// A URL of an app: scheme, host and port.
pub(crate) fn app_url(_: &mut SchemaGenerator) -> Schema {
    string("^(http|https|grpc|grpcs|h2c)://[^/@?# ]+$", 512)
}

/// A path on an app.
pub(crate) fn path(_: &mut SchemaGenerator) -> Schema {
    string("^/[^ ]*$", 1024)
}

/// A size in bytes that Dapr takes, such as `4Mi`.
pub(crate) fn bytes(_: &mut SchemaGenerator) -> Schema {
    string("^[0-9]{1,9}(Ki|Mi|Gi)?$", 16)
}

pub(crate) fn resource_quantities(generate: &mut SchemaGenerator) -> Schema {
    nullable(map(&quantity(generate), 8))
}

pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    nullable(map(&json_schema!({ "type": "string", "maxLength": 4096 }), 32))
}

pub(crate) fn app_ids(_: &mut SchemaGenerator) -> Schema {
    atomic(set(&string(APP_ID, 58), 1, MAX_NAMES))
}

pub(crate) fn rule_name(_: &mut SchemaGenerator) -> Schema {
    string(TOKEN, 63)
}

pub(crate) fn rules<R: JsonSchema>(generate: &mut SchemaGenerator) -> Schema {
    list_map(&generate.subschema_for::<R>(), "name", MAX_RULES)
}

/// Not empty: absent means every key.
pub(crate) fn keys<K: JsonSchema>(generate: &mut SchemaGenerator) -> Schema {
    let mut keys = list_map(&generate.subschema_for::<K>(), "name", MAX_KEYS);
    keys.insert("minItems".into(), 1.into());
    atomic(keys)
}

pub(crate) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    string(SECRET_KEY, 253)
}

pub(crate) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    set(&string(CIDR, 49), 0, MAX_CIDRS)
}

/// Not empty: a block of nothing is a mistake.
pub(crate) fn blocked_cidrs(_: &mut SchemaGenerator) -> Schema {
    set(&string(CIDR, 49), 1, MAX_CIDRS)
}

pub(crate) fn addresses(_: &mut SchemaGenerator) -> Schema {
    set(&string(ADDRESS, 45), 0, MAX_NAMES)
}

/// Not empty: absent means both.
pub(crate) fn ip_families<F: JsonSchema>(generate: &mut SchemaGenerator) -> Schema {
    set(&generate.subschema_for::<F>(), 1, 2)
}

/// As the field describes it: of an optional enum the derives would keep the type's description.
pub(crate) fn choice<E: JsonSchema>(generate: &mut SchemaGenerator) -> Schema {
    generate.subschema_for::<E>()
}

pub(crate) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 })
}

/// Not empty: absent means every port, and a template must not widen by accident.
pub(crate) fn ports<P: JsonSchema>(generate: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": generate.subschema_for::<P>(),
        "minItems": 1,
        "maxItems": MAX_PORTS,
    })
}

/// Not empty: absent means every pod, and a template must not widen by accident.
pub(crate) fn pod_labels(_: &mut SchemaGenerator) -> Schema {
    let value = json_schema!({ "type": "string", "pattern": LABEL_VALUE, "maxLength": 63 });
    let mut labels = map(&value, MAX_LABELS);
    labels.insert("minProperties".into(), 1.into());
    labels
}

pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    let quantity = json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": QUANTITY,
        "maxLength": 64,
        "minimum": 0,
    });
    nullable(map(&quantity, MAX_QUOTAS))
}

pub(crate) fn conditions(generate: &mut SchemaGenerator) -> Schema {
    list_map(&generate.subschema_for::<Condition>(), "type", MAX_CONDITIONS)
}

pub(crate) fn condition_type(_: &mut SchemaGenerator) -> Schema {
    string(CONDITION_TYPE, 316)
}

pub(crate) fn condition_status(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["True", "False", "Unknown"] })
}

pub(crate) fn reason(_: &mut SchemaGenerator) -> Schema {
    string(REASON, 1024)
}

pub(crate) fn reported(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "maxLength": MAX_REPORTED_TEXT },
        "maxItems": MAX_REPORTED,
    })
}
