//! What is said of an app whose server does not get all that is meant for it.

use std::net::IpAddr;

use catalyst_crds::Condition;
use jiff::Timestamp;
use serde_json::Value;

use super::Withheld;
use crate::{Invalid, readiness};

/// The condition, on an AppIdentity.
pub const CONDITION: &str = "ComponentsReady";

/// The concern, as the field manager names it.
pub const CONCERN: &str = "config-stream";

/// What is wrong: servers that have given up their streams, and what is withheld.
pub fn problem(withheld: &[Withheld], lost: &[IpAddr]) -> Option<Invalid> {
    let lost = (!lost.is_empty()).then(|| {
        let addresses: Vec<String> = lost.iter().map(ToString::to_string).collect();
        let message = format!(
            "the server at {} has given up its configuration stream, which it does after 14 minutes without one: delete \
             its pod, and another comes",
            addresses.join(", ")
        );
        ("StreamsLost", message)
    });
    let withheld = withheld.iter().map(|withheld| (withheld.reason, withheld.to_string()));
    let mut all = lost.into_iter().chain(withheld);
    let (reason, first) = all.next()?;
    let rest = all.map(|(_, message)| message);
    let message = [first].into_iter().chain(rest).collect::<Vec<_>>().join("; ");
    Some(Invalid::waits(reason, message))
}

/// The condition that the app should have, if it should have another than it has. One that was never anything but well
/// has none, so that nothing is written of most apps.
pub fn condition(
    problem: Option<&Invalid>,
    generation: i64,
    status: &Value,
    now: Timestamp,
) -> Option<Condition> {
    let standing = readiness::standing(status, CONDITION);
    if problem.is_none() && standing.as_ref().is_none_or(|standing| standing.status == "True") {
        return None;
    }
    let condition = readiness::told(CONDITION, problem, generation, status, now);
    (standing.as_ref() != Some(&condition)).then_some(condition)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Kind;
    use super::*;

    fn missing(name: &str) -> Withheld {
        Withheld {
            kind: Kind::Component,
            name: name.into(),
            reason: "SecretMissing",
            message: "create one".into(),
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_and_the_first_gives_the_reason() {
        let found = problem(&[missing("a"), missing("b")], &[]).unwrap();
        assert_eq!(found.reason, "SecretMissing");
        assert_eq!(found.message, r#"Component "a": create one; Component "b": create one"#);
        assert!(found.waits);
        let found = problem(&[missing("a")], &["10.1.2.3".parse().unwrap()]).unwrap();
        assert_eq!(found.reason, "StreamsLost");
        assert!(found.message.contains("10.1.2.3") && found.message.contains("Component \"a\""));
        assert_eq!(problem(&[], &[]), None);
    }

    #[test]
    fn an_app_that_was_never_anything_but_well_is_not_spoken_of() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let problem = problem(&[missing("a")], &[]);
        assert_eq!(condition(None, 1, &Value::Null, at(1)), None);
        let said = condition(problem.as_ref(), 1, &Value::Null, at(1)).unwrap();
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "SecretMissing"));
        let status = json!({"conditions": [said]});
        assert_eq!(condition(problem.as_ref(), 1, &status, at(2)), None, "it is said already");
        let newer = condition(problem.as_ref(), 2, &status, at(2)).unwrap();
        assert_eq!((newer.observed_generation, newer.last_transition_time.0), (Some(2), at(1)));
        let mended = condition(None, 2, &status, at(3)).unwrap();
        assert_eq!((mended.status.as_str(), mended.last_transition_time.0), ("True", at(3)));
        assert_eq!(condition(None, 3, &json!({"conditions": [mended]}), at(4)), None);
    }
}
