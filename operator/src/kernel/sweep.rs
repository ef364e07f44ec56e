//! Looks again at the Secrets that we made, namespace by namespace, evenly over ten minutes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::secrets::{refresh, resource};
use super::shared::Shared;

/// How long one round takes, and the shortest step: at most 60 lists a minute, however many namespaces there are.
const ROUND: Duration = Duration::from_mins(10);
const STEP: Duration = Duration::from_secs(1);

/// Sweeps for ever. How many namespaces there are is looked at before each step: most come after the start.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let Some(cluster) = &shared.cluster else { return };
    let (mut at, mut last) = (Instant::now(), String::new());
    loop {
        tokio::time::sleep(STEP).await;
        let namespaces = shared.children.store(&resource()).namespaces();
        let count = u32::try_from(namespaces.len().max(1)).unwrap_or(u32::MAX);
        let next = namespaces.iter().find(|name| **name > last).or(namespaces.first());
        let Some(next) = next.filter(|_| at.elapsed() >= ROUND / count) else { continue };
        cluster.gate().opened().await;
        if let Err(error) = refresh(cluster, &shared.children, next).await {
            tracing::debug!(namespace = next, error = %error, "secrets can't be looked at");
        }
        (at, last) = (Instant::now(), next.clone());
    }
}
