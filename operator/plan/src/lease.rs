//! The next move in an election by a Lease: pure, so that every case is a line in a test.

use std::time::Duration;

/// How long a holder may be silent before another one takes over; the values of client-go's leader election.
/// <https://pkg.go.dev/k8s.io/client-go/tools/leaderelection#LeaderElectionConfig>
pub const DURATION: Duration = Duration::from_secs(15);

/// How long after its last renewal a holder still writes. Below [`DURATION`], so that two never write at once.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How often a holder renews.
pub const RENEWAL: Duration = Duration::from_secs(5);

/// A Lease as it was last seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// Who holds it; empty if nobody does.
    pub holder: String,
    /// For how long it holds without a renewal.
    pub duration: Duration,
    /// How long it has not changed, by our own clock.
    pub unchanged: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Move {
    /// Nobody holds it, or its holder is silent for too long: try to take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Another one holds it: look again after this, or when it changes.
    Wait(Duration),
    /// It was ours and another one holds it: end, since that one writes now.
    End,
}

/// The next move of `me`, who held the lease before or not.
pub fn next(seen: Option<&Seen>, me: &str, held: bool) -> Move {
    match seen {
        None => Move::Take,
        Some(lease) if lease.holder.is_empty() => Move::Take,
        Some(lease) if lease.holder == me => Move::Renew,
        Some(_) if held => Move::End,
        Some(lease) => match lease.duration.checked_sub(lease.unchanged) {
            None | Some(Duration::ZERO) => Move::Take,
            Some(left) => Move::Wait(left),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(holder: &str, unchanged: u64) -> Seen {
        Seen {
            holder: holder.into(),
            duration: DURATION,
            unchanged: Duration::from_secs(unchanged),
        }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken() {
        assert_eq!(next(None, "a", false), Move::Take);
        assert_eq!(next(Some(&by("", 0)), "a", false), Move::Take);
    }

    #[test]
    fn a_restarted_holder_renews_its_own_lease_at_once() {
        assert_eq!(next(Some(&by("a", 0)), "a", false), Move::Renew);
    }

    #[test]
    fn a_holder_that_is_silent_for_the_whole_duration_is_replaced_and_not_before() {
        assert_eq!(next(Some(&by("b", 14)), "a", false), Move::Wait(Duration::from_secs(1)));
        assert_eq!(next(Some(&by("b", 15)), "a", false), Move::Take);
    }

    #[test]
    fn a_holder_that_sees_another_one_ends() {
        assert_eq!(next(Some(&by("b", 0)), "a", true), Move::End);
        assert_eq!(next(Some(&by("b", 99)), "a", true), Move::End);
    }
}
