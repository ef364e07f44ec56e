//! The pods of Dapr servers, of which no more is kept than whose they are and what is wrong with them.

use std::borrow::Cow;
use std::fmt;

use catalyst_plan::server::{Trouble, trouble};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A pod of a Dapr server.
#[derive(Clone)]
pub(crate) struct ServerPod {
    metadata: ObjectMeta,
    /// What is wrong with it, if anything.
    pub(super) trouble: Option<Trouble>,
}

impl Resource for ServerPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl fmt::Debug for ServerPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pod {:?} {:?}", self.metadata.name, self.trouble)
    }
}

impl<'de> Deserialize<'de> for ServerPod {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Whole {
            metadata: ObjectMeta,
            #[serde(default)]
            status: Value,
        }
        let Whole { metadata, status } = Whole::deserialize(from)?;
        let ObjectMeta { name, namespace, uid, resource_version, labels, .. } = metadata;
        Ok(Self {
            metadata: ObjectMeta {
                name,
                namespace,
                uid,
                resource_version,
                labels,
                ..ObjectMeta::default()
            },
            trouble: trouble(&status),
        })
    }
}

impl Serialize for ServerPod {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.metadata.serialize(to)
    }
}
