//! What a test may choose about its control plane.

use std::path::PathBuf;

/// What a control plane is started with. `Options::default()` is a whole one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Custom resource definitions: files, or folders of them. They stand before the controller manager starts.
    ///
    /// Garbage collection looks for new kinds only every 30 seconds; those named here it knows from the beginning,
    /// and so what an object of theirs owns goes right after it.
    pub crds: Vec<PathBuf>,

    /// Users whose writes are in the audit log with their bodies.
    pub audit_bodies_of: Vec<String>,

    /// Which of the controller manager's controllers run.
    pub controllers: Controllers,
}

/// Which of the controller manager's controllers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Controllers {
    /// All that run by default.
    #[default]
    All,
    /// Namespaces, service accounts and garbage collection. For measurements: a Deployment is then
    /// only itself, without replica sets and pods, which would take their share of the machine.
    Few,
}
