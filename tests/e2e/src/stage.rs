//! One installation for all tests of a file: shared by those that only look at their own objects, and left to one alone
//! that stops the operator, or counts what it does.

use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::installation::Installation;

/// A file's installation, started by the first test that needs it.
///
/// Nothing drops a `static`: the testbed ends what runs when the test process does.
pub struct Stage(OnceLock<RwLock<Installation>>, fn() -> Installation);

impl Stage {
    /// One that has not begun.
    #[allow(
        clippy::new_without_default,
        reason = "a static needs a const fn, and nobody else makes one"
    )]
    pub const fn new() -> Self {
        Self::of(Installation::start)
    }

    /// One that begins in another way.
    pub const fn of(begin: fn() -> Installation) -> Self {
        Self(OnceLock::new(), begin)
    }

    /// The installation, beside other tests whose objects have other names.
    pub fn shared(&self) -> RwLockReadGuard<'_, Installation> {
        // A test that failed leaves its objects, which have names of their own.
        self.lock().read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The installation, while no other test uses it, with all its processes running.
    pub fn alone(&self) -> RwLockWriteGuard<'_, Installation> {
        let mut alone = self.lock().write().unwrap_or_else(PoisonError::into_inner);
        alone.mend();
        alone
    }

    fn lock(&self) -> &RwLock<Installation> {
        self.0.get_or_init(|| RwLock::new((self.1)()))
    }
}
