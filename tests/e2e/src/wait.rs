//! Waits that end as soon as they can, and that say what was there instead when they may not go on.

use std::time::{Duration, Instant};

/// Between two looks: short beside what a person notices, long beside what a look costs.
const STEP: Duration = Duration::from_millis(25);

/// Looks until there is an answer. When time is up it panics with what was seen last.
pub fn until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        // Before the look: one that began in time counts, however long the machine took for it.
        let over = since.elapsed() > within;
        match look() {
            Ok(seen) => return seen,
            Err(seen) if over => {
                panic!("not within {within:?}: {what}\nseen last: {seen}")
            }
            Err(_) => std::thread::sleep(STEP),
        }
    }
}
