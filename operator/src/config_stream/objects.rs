//! Dapr's kinds as they come: read whole, whatever is in them, since servers and not we make sense of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use catalyst_plan::stream::Kind;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Which kind.
pub(super) trait Named: Clone + Send + Sync + 'static {
    const KIND: Kind;
    const VERSION: &'static str = "v1alpha1";
    const PLURAL: &'static str;
}

/// An object of one of Dapr's kinds.
#[derive(Clone)]
pub(super) struct Object<N> {
    metadata: ObjectMeta,
    /// The object, without what nobody reads.
    pub(super) value: Arc<Value>,
    kind: PhantomData<N>,
}

macro_rules! kinds {
    ($($name:ident, $plural:literal $(, $version:literal)?;)*) => {$(
        #[derive(Clone)]
        pub(super) struct $name;

        impl Named for $name {
            const KIND: Kind = Kind::$name;
            const PLURAL: &'static str = $plural;
            $(const VERSION: &'static str = $version;)?
        }
    )*};
}

kinds! {
    Configuration, "configurations";
    Resiliency, "resiliencies";
    Component, "components";
    HttpEndpoint, "httpendpoints";
    // The only version that servers read whole: of an older one they lose the route.
    Subscription, "subscriptions", "v2alpha1";
    WorkflowAccessPolicy, "workflowaccesspolicies";
    McpServer, "mcpservers";
}

impl<N: Named> Resource for Object<N> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        N::KIND.name().into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "dapr.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        N::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        N::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Objects may have credentials in them, so they are shown by name only.
impl<N: Named> fmt::Debug for Object<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", N::KIND.name(), self.metadata.name)
    }
}

impl<'de, N> Deserialize<'de> for Object<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut object = Map::deserialize(from)?;
        object.remove("status");
        let mut metadata = object.remove("metadata").unwrap_or_default();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("managedFields");
        }
        let read = ["name", "namespace", "creationTimestamp"].into_iter();
        let read = read.filter_map(|field| Some((field.into(), metadata.get(field)?.clone())));
        object.insert("metadata".into(), Value::Object(read.collect()));
        let metadata = serde_json::from_value(metadata).map_err(D::Error::custom)?;
        Ok(Self { metadata, value: Arc::new(Value::Object(object)), kind: PhantomData })
    }
}

impl<N> Serialize for Object<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_is_in_an_object_is_kept_but_what_nobody_reads() {
        let object: Object<Component> = serde_json::from_value(json!({
            "apiVersion": "dapr.io/v1alpha1", "kind": "Component",
            "metadata": {"name": "a", "namespace": "prj-shop", "uid": "1", "resourceVersion": "7",
                "labels": {"x": "y"}, "managedFields": [{"manager": "m"}]},
            "spec": {"type": "t", "metadata": [{"name": "n", "value": 7}]},
            "auth": {"secretStore": "s"}, "scopes": ["orders"], "status": {"x": 1},
        }))
        .unwrap();
        assert_eq!(object.metadata.uid.as_deref(), Some("1"));
        assert_eq!(object.metadata.managed_fields, None);
        assert_eq!(object.value["spec"]["metadata"][0]["value"], 7);
        assert_eq!(object.value["metadata"], json!({"name": "a", "namespace": "prj-shop"}));
        assert_eq!(object.value.get("status"), None);
        assert!(!format!("{object:?}").contains("secretStore"));
    }
}
