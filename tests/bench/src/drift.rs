//! Foreign edits: how long until they are gone, over what a plain client would need that saw the same event.

use std::time::Duration;

use catalyst_e2e::{FOREIGN, Installation};
use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::floor::Client;
use crate::table::Table;

/// How many edits.
const EDITS: usize = 100;

/// The policy that is edited.
const POLICY: &str = "base-egress";

pub(crate) fn measure(installation: &Installation, table: &mut Table) {
    let client = Client::new(installation.control_plane.kubeconfig(), 1);
    let mut mended = Vec::new();
    let mut floor = Vec::new();
    client.runtime.block_on(async {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
            "networking.k8s.io",
            "v1",
            "NetworkPolicy",
        ));
        let all: Api<DynamicObject> = Api::all_with(client.inner.clone(), &resource);
        let mut events = watcher(all, watcher::Config::default()).applied_objects().boxed();
        for index in 0..EDITS {
            let namespace = format!("prj-load-{}", index % crate::PROJECTS);
            let api = Api::namespaced_with(client.inner.clone(), &namespace, &resource);
            mended.push(until_mended(&api, &mut events, &namespace).await);
            floor.push(plain(&api, &mut events, &namespace).await);
        }
    });
    for (key, percent, goal) in [("drift_ratio_p50", 50, 2.0), ("drift_ratio_p99", 99, 4.0)] {
        table.ratio(
            key,
            percentile(&mut mended, percent),
            percentile(&mut floor, percent),
            goal,
            "ms",
        );
    }
}

type Events = futures::stream::BoxStream<'static, Result<DynamicObject, watcher::Error>>;

/// Milliseconds from the event of a foreign edit to the event that takes it back.
async fn until_mended(api: &Api<DynamicObject>, events: &mut Events, namespace: &str) -> f64 {
    edit(api, &json!({"spec": {"ingress": [{}]}})).await;
    seen(events, namespace, |object| object["spec"]["ingress"].is_array()).await;
    let began = Instant::now();
    seen(events, namespace, |object| object["spec"]["ingress"].is_null()).await;
    began.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds from the event of an edit to the answer to a plain apply: of a label, so that the operator lets it be.
async fn plain(api: &Api<DynamicObject>, events: &mut Events, namespace: &str) -> f64 {
    edit(api, &json!({"metadata": {"labels": {"floor": "edited"}}})).await;
    seen(events, namespace, |object| object["metadata"]["labels"]["floor"] == "edited").await;
    let began = Instant::now();
    let mended = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": POLICY, "labels": {"floor": "mended"}}});
    api.patch(POLICY, &PatchParams::apply("floor").force(), &Patch::Apply(&mended))
        .await
        .expect("an apply");
    let took = began.elapsed().as_secs_f64() * 1e3;
    seen(events, namespace, |object| object["metadata"]["labels"]["floor"] == "mended").await;
    took
}

async fn edit(api: &Api<DynamicObject>, patch: &Value) {
    let params = PatchParams { field_manager: Some(FOREIGN.into()), ..PatchParams::default() };
    api.patch(POLICY, &params, &Patch::Merge(patch)).await.expect("an edit");
}

async fn seen(events: &mut Events, namespace: &str, is: impl Fn(&Value) -> bool) {
    let found = async {
        while let Some(event) = events.next().await {
            let object = json!(event.expect("a watch"));
            let place = &object["metadata"];
            if place["namespace"] == namespace && place["name"] == POLICY && is(&object) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("the event within 30 s");
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
