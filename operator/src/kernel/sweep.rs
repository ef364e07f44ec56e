//! Looks again at the Secrets that we made, namespace by namespace, evenly over ten minutes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::secrets::{refresh, resource};
use super::shared::Shared;

/// How long one round takes, and the shortest step: at most 60 lists a minute, however many namespaces there are.
const ROUND: Duration = Duration::from_mins(10);
const STEP: Duration = Duration::from_secs(1);

/// Sweeps for ever.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let Some(cluster) = &shared.cluster else { return };
    loop {
        let store = shared.children.store(&resource());
        let namespaces: BTreeSet<String> =
            store.all().into_iter().map(|(place, _)| place.namespace).collect();
        let step = ROUND / u32::try_from(namespaces.len().max(1)).unwrap_or(u32::MAX);
        if namespaces.is_empty() {
            tokio::time::sleep(ROUND).await;
        }
        for namespace in namespaces {
            tokio::time::sleep(step.max(STEP)).await;
            cluster.gate().opened().await;
            if let Err(error) = refresh(cluster, &shared.children, &namespace).await {
                tracing::debug!(namespace, error = %error, "secrets can't be looked at");
            }
        }
    }
}
