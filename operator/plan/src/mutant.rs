//! Turns one line off, chosen by name, in the one build that shows that each promise can fail: `make mutants`.

/// Whether the line of this name is turned off. A constant in every build but the one with the feature `mutants`, so
/// that the compiler leaves nothing of it.
#[cfg(not(feature = "mutants"))]
pub const fn mutant(_: &str) -> bool {
    false
}

/// Whether the line of this name is turned off: by `CATALYST_MUTANT`, which is read once.
#[cfg(feature = "mutants")]
pub fn mutant(name: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("CATALYST_MUTANT").unwrap_or_default());
    *CHOSEN == name
}
