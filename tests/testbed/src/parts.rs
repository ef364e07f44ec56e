//! The processes of one control plane. Dropped, they end in this order: none is left to complain about another.

use crate::error::Result;
use crate::process::Process;

/// What runs at the moment.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) controller_manager: Option<Process>,
    pub(crate) api_server: Option<Process>,
    pub(crate) etcd: Option<Process>,
}

impl Parts {
    /// Fails with the log of the first part that ended by itself, beginning with the one that the others need.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Self { controller_manager, api_server, etcd } = self;
        let mut parts = [etcd, api_server, controller_manager].into_iter().flatten();
        parts.try_for_each(Process::must_run)
    }
}
