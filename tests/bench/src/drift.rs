//! Foreign edits, additions and deletions of every kind that is watched: how long until each is mended.

use std::time::Instant;

use catalyst_e2e::{FOREIGN, Installation};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::events::{Events, News};
use crate::floor::{Client, api};

/// How many.
const EDITS: usize = 500;

/// The kinds, and for each an edit of what is there and an addition to it.
fn kinds() -> [(&'static str, &'static str, Value, Value); 5] {
    let subject =
        |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "default"});
    [
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {"matchLabels": {"edited": "yes"}}}}),
            json!({"spec": {"ingress": [{}]}}),
        ),
        (
            "v1",
            "ServiceAccount",
            json!({"automountServiceAccountToken": true}),
            json!({"metadata": {"labels": {"cra.diagrid.io/owner-uid": "edited"}}}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"subjects": [subject("edited")]}),
            json!({"subjects": [subject("edited"), subject("added")]}),
        ),
        (
            "dapr.io/v1alpha1",
            "Configuration",
            json!({"spec": {"accessControl": {"defaultAction": "deny"}}}),
            json!({"spec": {"features": [{"name": "added", "enabled": true}]}}),
        ),
        (
            "v1",
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": "7"}}}),
            json!({"spec": {"hard": {"services": "7"}}}),
        ),
    ]
}

/// One thing that a foreign hand does, and what stood before.
struct Foreign {
    version: &'static str,
    kind: &'static str,
    before: Value,
    /// A merge patch; none deletes.
    patch: Option<Value>,
}

/// What is done to whom: the kinds in turn, and with each kind an edit, an addition and a deletion in turn.
pub(crate) struct Edits(Vec<Foreign>);

impl Edits {
    pub(crate) fn of(installation: &Installation) -> Self {
        let kinds = kinds();
        let standing = kinds.clone().map(|(_, kind, _, _)| {
            installation.list(kind, None, "app.kubernetes.io/managed-by=catalyst")
        });
        let foreign = |index: usize| {
            let (turn, which) = (index / kinds.len(), index % kinds.len());
            let (version, kind, edit, addition) = &kinds[which];
            let patch = [Some(edit), Some(addition), None][turn % 3];
            let of = &standing[which];
            Foreign { version, kind, before: of[turn % of.len()].clone(), patch: patch.cloned() }
        };
        Self((0..EDITS).map(foreign).collect())
    }

    /// Milliseconds from the event of each foreign write to the event of its mending.
    pub(crate) fn mended(&self, client: &Client) -> Vec<f64> {
        client.runtime.block_on(async {
            let mut events = Self::events(client).await;
            let mut took = Vec::new();
            for foreign in &self.0 {
                let began = foreign.happens(client, &mut events).await;
                let place = foreign.place();
                let mended = |news: &News| {
                    !news.deleted && news.at > began && foreign.is_mended(&news.object)
                };
                let news = events.until(|news| news.is_of(place) && mended(news)).await;
                took.push(news.at.duration_since(began).as_secs_f64() * 1e3);
            }
            took
        })
    }

    /// The same without the operator: from the event to the answer to a plain apply of what stood before.
    pub(crate) fn applied(&self, client: &Client) -> Vec<f64> {
        client.runtime.block_on(async {
            let mut events = Self::events(client).await;
            let mut took = Vec::new();
            for foreign in &self.0 {
                let began = foreign.happens(client, &mut events).await;
                client.apply_one(&foreign.whole()).await;
                took.push(began.elapsed().as_secs_f64() * 1e3);
            }
            took
        })
    }

    async fn events(client: &Client) -> Events {
        let kinds = kinds().map(|(version, kind, _, _)| (version, kind));
        Events::of(client, &kinds).await
    }
}

impl Foreign {
    fn place(&self) -> (&str, &str, &str) {
        let text = |field: &str| self.before["metadata"][field].as_str().unwrap_or_default();
        (self.kind, text("namespace"), text("name"))
    }

    /// Does it. Returns when its event came.
    async fn happens(&self, client: &Client, events: &mut Events) -> Instant {
        let (kind, namespace, name) = self.place();
        let api = api(&client.inner, self.version, kind, Some(namespace));
        events.forget();
        if let Some(patch) = &self.patch {
            let params =
                PatchParams { field_manager: Some(FOREIGN.into()), ..PatchParams::default() };
            let edited = api.patch(name, &params, &Patch::Merge(patch)).await.expect("an edit");
            let edited = json!(edited);
            events.until(|news| news.is_of(self.place()) && news.is(&edited)).await.at
        } else {
            api.delete(name, &DeleteParams::background()).await.expect("a deletion");
            events.until(|news| news.is_of(self.place()) && news.deleted).await.at
        }
    }

    /// Whether all that stood before stands, and nothing else.
    fn is_mended(&self, now: &Value) -> bool {
        content(now) == content(&self.before)
            && now["metadata"]["labels"] == self.before["metadata"]["labels"]
    }

    /// The manifest that brings back what stood.
    fn whole(&self) -> Value {
        let mut whole = crate::load::bare(&self.before);
        whole["metadata"]["ownerReferences"] = self.before["metadata"]["ownerReferences"].clone();
        whole
    }
}

fn content(object: &Value) -> Value {
    let mut content = object.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.retain(|field, _| {
            !["apiVersion", "kind", "metadata", "status"].contains(&field.as_str())
        });
    }
    content
}
