//! Brings the definitions of a cluster up to date, as the chart's Job does before an upgrade: Helm never does.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use json_patch::PatchOperation;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;

/// Who writes them, as managedFields name it.
const MANAGER: &str = "crds.cra.diagrid.io";

/// The longest wait for a connection and for an answer. The Job tries again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts every definition in place. What is up to date is not changed.
pub(super) async fn apply(out: &mut dyn Write) -> Result<()> {
    let mut config =
        Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    let client = Client::try_from(config).context("the kubeconfig can't be used")?;
    let api = Api::all(client);
    for crd in catalyst_crds::definitions() {
        let name = crd.name_any();
        put(&api, &name, &crd).await.with_context(|| format!("customresourcedefinition {name}"))?;
        writeln!(out, "customresourcedefinition {name} is up to date")?;
    }
    Ok(())
}

/// Replaces the whole spec. An apply would keep the fields that a former version had and this one has not: whoever
/// applied that one still owns them.
async fn put(
    api: &Api<CustomResourceDefinition>,
    name: &str,
    crd: &CustomResourceDefinition,
) -> Result<()> {
    let replace: PatchOperation =
        serde_json::from_value(json!({"op": "replace", "path": "/spec", "value": crd.spec}))?;
    let replace = Patch::Json::<()>(json_patch::Patch(vec![replace]));
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch(name, &params, &replace).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            // An apply, as its URL names what it makes, so that a role can allow just that. A POST's does not.
            api.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(crd)).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}
