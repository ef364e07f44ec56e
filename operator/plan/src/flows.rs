//! Every flow that Dapr needs, once: both halves of each, and the condition that names a missing one, come from here.

/// One end of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Party {
    /// The Dapr servers of a project, and whatever else runs in its namespace.
    Server,
    /// Sentry, which issues certificates.
    Sentry,
    /// Catalyst's configuration stream.
    Stream,
    /// Placement, which knows where actors are.
    Placement,
    /// The scheduler, which keeps jobs, reminders and workflows.
    Scheduler,
    /// The API server of Kubernetes.
    ApiServer,
}

impl Party {
    /// What the pods of a part of the Dapr control plane carry as `app`; `None` for what runs elsewhere.
    pub const fn app(self) -> Option<&'static str> {
        match self {
            Self::Sentry => Some("dapr-sentry"),
            Self::Stream => Some("config-stream"),
            Self::Placement => Some("dapr-placement-server"),
            Self::Scheduler => Some("dapr-scheduler-server"),
            Self::Server | Self::ApiServer => None,
        }
    }
}

/// Who reaches whom, on a port of the pod that is reached, by TCP.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who opens the connection.
    pub from: Party,
    /// Who is reached.
    pub to: Party,
    /// The port, as it is behind the Service.
    pub port: i32,
    /// What does not work without it.
    pub carries: &'static str,
}

const fn flow(from: Party, to: Party, port: i32, carries: &'static str) -> Flow {
    Flow { from, to, port, carries }
}

/// The table. DNS is not in it: it has a policy of its own, for every pod. Nor is what reaches a server from outside
/// of its project, which people open.
/// <https://github.com/dapr/dapr/tree/v1.18.3/charts/dapr/charts>
pub const FLOWS: [Flow; 12] = [
    flow(Party::Server, Party::Sentry, 50001, "certificates"),
    flow(Party::Server, Party::Stream, 6500, "configuration and components"),
    flow(Party::Server, Party::Placement, 50005, "actors and workflows"),
    flow(Party::Server, Party::Scheduler, 50006, "jobs, reminders and workflows"),
    flow(Party::Server, Party::Server, 50002, "calls between apps, and actors on another server"),
    // The API server's port is its own: see `API_PORTS`.
    flow(Party::Sentry, Party::ApiServer, 0, "token reviews"),
    flow(Party::Stream, Party::ApiServer, 0, "what it serves"),
    flow(Party::Scheduler, Party::ApiServer, 0, "namespaces that go"),
    flow(Party::Stream, Party::Sentry, 50001, "its certificate"),
    flow(Party::Placement, Party::Sentry, 50001, "its certificate"),
    flow(Party::Scheduler, Party::Sentry, 50001, "its certificate"),
    flow(Party::Scheduler, Party::Scheduler, 2380, "members of the scheduler"),
];

/// The ports of API servers, where theirs is not known.
pub const API_PORTS: [i32; 2] = [443, 6443];

/// The parts of the Dapr control plane.
pub const CONTROL_PLANE: [Party; 4] =
    [Party::Sentry, Party::Stream, Party::Placement, Party::Scheduler];
