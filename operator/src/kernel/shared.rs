//! What all controllers of a process share.

use std::sync::Arc;

use super::apply::Children;
use super::cluster::Cluster;
use super::events::Events;
use super::secrets::Looked;
use super::status::Statuses;

/// The cluster, what is known of children, and who folds verdicts.
#[derive(Default)]
pub(super) struct Shared {
    /// The cluster; `None` where plans are only shown.
    pub cluster: Option<Arc<Cluster>>,
    /// What is known of children.
    pub children: Children,
    /// Where Secrets were looked for.
    pub looked: Looked,
    /// What people are told.
    pub events: Arc<Events>,
    /// Who folds verdicts.
    pub statuses: Statuses,
}
