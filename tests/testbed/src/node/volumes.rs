//! Volumes that outlive pods: folders of the cluster's own, as no storage is attached to a cluster on one machine.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Doing, Result};
use crate::node::flags::NAME;

/// More than anybody asks for. Nobody measures it.
const SIZE: &str = "64Gi";

/// So many volumes for whoever claims one without saying of which class, and this class. They go with the cluster.
pub(crate) fn volumes(directory: &Path, count: usize) -> Result<Value> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "folders",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    let mut items = vec![class];
    for number in 0..count {
        let path = directory.join(format!("volumes/{number}"));
        fs::create_dir_all(&path).doing("making", &path)?;
        items.push(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": format!("folder-{number}")},
            "spec": {
                "storageClassName": "folders",
                "capacity": {"storage": SIZE},
                "accessModes": ["ReadWriteOnce"],
                // Unlike a hostPath, it is given to the group of the pod that takes it.
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]},
                ]}]}},
            },
        }));
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}
