//! Folds the verdicts of all controllers on one object into its one status, as kstatus, Argo CD and people read it.

use std::collections::BTreeMap;

use catalyst_crds::Condition;
use catalyst_crds::schema::MAX_MESSAGE;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use crate::{Invalid, mutant, stream};

/// Which conditions a kind needs before it can be Ready, the most telling first: the first one that is
/// not True gives Ready its reason.
pub fn needs(kind: &str) -> &'static [&'static str] {
    match kind {
        "Region" => &["Accepted", "TrustReady", "DaprReady"],
        "Project" => &["Accepted", "NamespaceReady", "NetworkReady"],
        "AppIdentity" => &["IdentityReady", "ServerReady"],
        "EgressPolicy" => &["NetworkReady"],
        "SecretRef" => &["Resolved"],
        _ => &[],
    }
}

/// Which conditions a kind shows that Ready does not ask for, each with its reason while it is True: facts that people
/// want to know, and that stop nobody. A problem that waits makes one Unknown.
pub fn notes(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "Region" => &[("NetworkPolicyEnforced", "Enforced")],
        _ => &[],
    }
}

/// Which conditions of a kind another process writes, under a manager of its own, and only where there is something to
/// say. While one is False the object is not Ready.
pub fn others(kind: &str) -> &'static [&'static str] {
    match kind {
        "AppIdentity" => &[stream::report::CONDITION],
        _ => &[],
    }
}

/// A status without the conditions of [`others`]: as much of it as [`fold`] makes.
pub fn own(kind: &str, mut status: Value) -> Value {
    if let Some(conditions) = status["conditions"].as_array_mut() {
        let other =
            |condition: &Value| others(kind).iter().any(|type_| condition["type"] == *type_);
        conditions.retain(|condition| !other(condition));
    }
    status
}

/// What one controller says of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The generation it planned from.
    pub generation: i64,
    /// What is wrong, if anything.
    pub problem: Option<Invalid>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// Whether the object's owner suspended it.
    pub suspended: bool,
    /// Whether nothing was asked for: no condition shows.
    pub unasked: bool,
    /// Fields of the status beside the conditions.
    pub status: Map<String, Value>,
}

/// Everything that the fold of one object looks at.
pub struct Spoken<'a> {
    /// The object's kind.
    pub kind: &'a str,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Its status as it stands; null if there is none.
    pub standing: &'a Value,
    /// The verdicts so far, by condition type.
    pub verdicts: &'a BTreeMap<&'static str, Verdict>,
    /// Whether the wait for silent controllers is over.
    pub impatient: bool,
    /// The time that a flipped condition gets.
    pub now: Timestamp,
}

/// The status that the object should have. `None` while a controller has not spoken for this generation
/// and may still do so soon.
pub fn fold(spoken: &Spoken<'_>) -> Option<Value> {
    let needs = needs(spoken.kind);
    let current = |need: &&str| {
        spoken.verdicts.get(*need).filter(|verdict| verdict.generation >= spoken.generation)
    };
    let silent: Vec<&str> = needs.iter().filter(|need| current(need).is_none()).copied().collect();
    if !silent.is_empty() && !spoken.impatient {
        return None;
    }

    let mut conditions = Vec::new();
    for need in needs {
        match spoken.verdicts.get(need) {
            Some(verdict) if verdict.unasked => {}
            Some(verdict) => conditions.push(judged(need, verdict)),
            None => conditions.extend(standing(spoken.standing, need)),
        }
    }
    for (note, reason) in notes(spoken.kind) {
        match spoken.verdicts.get(note) {
            Some(verdict) => conditions.push(noted(note, reason, verdict)),
            None => conditions.extend(standing(spoken.standing, note)),
        }
    }
    conditions.extend(summary(spoken, &silent));
    for condition in &mut conditions {
        carry(condition, spoken.standing, spoken.now);
    }

    let mut status = if silent.is_empty() { Map::new() } else { fields(spoken.standing) };
    for verdict in spoken.verdicts.values() {
        status.extend(verdict.status.clone());
    }
    status.retain(|_, value| !is_empty(value));
    status.insert("observedGeneration".into(), json!(spoken.generation));
    status.insert("conditions".into(), json!(conditions));
    Some(Value::Object(status))
}

fn judged(type_: &str, verdict: &Verdict) -> Condition {
    let (status, reason, message) = match &verdict.problem {
        None if verdict.suspended => (
            "True",
            "Suspended",
            "spec.suspend is true: nothing is made, nothing is removed".into(),
        ),
        None => ("True", "Ready", verdict.warnings.join("; ")),
        Some(problem) => ("False", problem.reason, problem.message.clone()),
    };
    condition(type_, status, reason, message, verdict.generation)
}

fn noted(type_: &str, reason: &str, verdict: &Verdict) -> Condition {
    let (status, reason, message) = match &verdict.problem {
        None => ("True", reason, verdict.warnings.join("; ")),
        Some(problem) if problem.waits => ("Unknown", problem.reason, problem.message.clone()),
        Some(problem) => ("False", problem.reason, problem.message.clone()),
    };
    condition(type_, status, reason, message, verdict.generation)
}

/// What another process says of an object, in a condition of its own.
pub(crate) fn told(
    type_: &str,
    problem: Option<&Invalid>,
    generation: i64,
    status: &Value,
    now: Timestamp,
) -> Condition {
    let verdict = Verdict { generation, problem: problem.cloned(), ..Verdict::default() };
    let mut condition = judged(type_, &verdict);
    carry(&mut condition, status, now);
    condition
}

/// Ready, and Reconciling or Stalled while they are true.
fn summary(spoken: &Spoken<'_>, silent: &[&str]) -> Vec<Condition> {
    let verdicts = || needs(spoken.kind).iter().filter_map(|need| spoken.verdicts.get(need));
    let problems = || verdicts().filter_map(|verdict| verdict.problem.as_ref());
    let with = |type_, status, reason, message: String| {
        condition(type_, status, reason, message, spoken.generation)
    };

    if let Some(problem) = problems().find(|problem| !problem.waits && !mutant("never-stalled")) {
        return vec![
            with("Ready", "False", problem.reason, problem.message.clone()),
            with("Stalled", "True", problem.reason, problem.message.clone()),
        ];
    }
    if let Some(problem) = problems().next() {
        return vec![
            with("Ready", "False", problem.reason, problem.message.clone()),
            with("Reconciling", "True", problem.reason, problem.message.clone()),
        ];
    }
    let told = others(spoken.kind).iter().filter_map(|type_| standing(spoken.standing, type_));
    if let Some(told) = told.into_iter().find(|told| told.status == "False") {
        let with = |type_, status| {
            condition(type_, status, &told.reason, told.message.clone(), spoken.generation)
        };
        return vec![with("Ready", "False"), with("Reconciling", "True")];
    }
    if !silent.is_empty() {
        let message = format!("waiting for {}", silent.join(", "));
        return vec![
            with("Ready", "Unknown", "Progressing", message.clone()),
            with("Reconciling", "True", "Progressing", message),
        ];
    }
    if verdicts().any(|verdict| verdict.suspended) {
        return vec![with(
            "Ready",
            "True",
            "Suspended",
            "spec.suspend is true: nothing is made, nothing is removed".into(),
        )];
    }
    let warnings: Vec<&str> =
        verdicts().flat_map(|verdict| &verdict.warnings).map(String::as_str).collect();
    vec![with("Ready", "True", "Ready", warnings.join("; "))]
}

fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    mut message: String,
    generation: i64,
) -> Condition {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - 4)
            .rev()
            .find(|end| message.is_char_boundary(*end))
            .unwrap_or_default();
        message.truncate(end);
        message.push_str(" ...");
    }
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: Some(generation),
    }
}

/// Keeps the time of the last transition unless the status flips.
fn carry(condition: &mut Condition, status: &Value, now: Timestamp) {
    condition.last_transition_time = standing(status, &condition.type_)
        .filter(|before| before.status == condition.status)
        .map_or(Time(now), |before| before.last_transition_time);
    if mutant("restless") {
        condition.last_transition_time.0 += SignedDuration::from_secs(1);
    }
}

/// The condition of a type as it stands.
pub fn standing(status: &Value, type_: &str) -> Option<Condition> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == type_)?;
    serde_json::from_value(found.clone()).ok()
}

fn fields(status: &Value) -> Map<String, Value> {
    let mut fields = status.as_object().cloned().unwrap_or_default();
    fields.remove("conditions");
    fields.remove("observedGeneration");
    fields
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn folded(
        verdicts: &[(&'static str, Verdict)],
        standing: &Value,
        generation: i64,
        impatient: bool,
        now: i64,
    ) -> Option<Value> {
        let verdicts = verdicts.iter().cloned().collect();
        fold(&Spoken {
            kind: "Project",
            generation,
            standing,
            verdicts: &verdicts,
            impatient,
            now: at(now),
        })
    }

    fn said(generation: i64, problem: Option<Invalid>) -> Verdict {
        Verdict { generation, problem, ..Verdict::default() }
    }

    fn all(generation: i64, network: Option<Invalid>) -> Vec<(&'static str, Verdict)> {
        vec![
            ("Accepted", said(generation, None)),
            ("NamespaceReady", said(generation, None)),
            ("NetworkReady", said(generation, network)),
        ]
    }

    fn status_of(status: &Value, type_: &str) -> Option<(String, String)> {
        super::standing(status, type_).map(|condition| (condition.status, condition.reason))
    }

    #[test]
    fn ready_is_true_only_when_every_controller_has_spoken_for_this_generation() {
        let mut verdicts = all(2, None);
        assert_eq!(
            status_of(&folded(&verdicts, &Value::Null, 2, false, 1).unwrap(), "Ready"),
            Some(("True".into(), "Ready".into()))
        );
        verdicts[2].1.generation = 1;
        assert_eq!(folded(&verdicts, &Value::Null, 2, false, 1), None);
        let late = folded(&verdicts, &Value::Null, 2, true, 1).unwrap();
        assert_eq!(status_of(&late, "Ready"), Some(("Unknown".into(), "Progressing".into())));
        assert_eq!(status_of(&late, "Reconciling"), Some(("True".into(), "Progressing".into())));
    }

    #[test]
    fn a_spec_that_cannot_work_stalls_and_one_that_waits_reconciles() {
        let stalled = folded(
            &all(1, Some(Invalid::new("InvalidEgress", "mend it"))),
            &Value::Null,
            1,
            false,
            1,
        )
        .unwrap();
        assert_eq!(status_of(&stalled, "Ready"), Some(("False".into(), "InvalidEgress".into())));
        assert_eq!(status_of(&stalled, "Stalled"), Some(("True".into(), "InvalidEgress".into())));
        assert_eq!(status_of(&stalled, "Reconciling"), None);
        let waiting = folded(
            &all(1, Some(Invalid::waits("UnknownRegion", "none yet"))),
            &Value::Null,
            1,
            false,
            1,
        )
        .unwrap();
        assert_eq!(
            status_of(&waiting, "Reconciling"),
            Some(("True".into(), "UnknownRegion".into()))
        );
        assert_eq!(status_of(&waiting, "Stalled"), None);
    }

    #[test]
    fn the_same_verdicts_give_the_same_status_and_only_a_flip_moves_the_time() {
        let first = folded(&all(1, None), &Value::Null, 1, false, 10).unwrap();
        assert_eq!(folded(&all(1, None), &first, 1, false, 99).unwrap(), first);
        let flipped =
            folded(&all(1, Some(Invalid::new("InvalidEgress", "mend"))), &first, 1, false, 99)
                .unwrap();
        let times = |type_| super::standing(&flipped, type_).unwrap().last_transition_time.0;
        assert_eq!(times("NetworkReady"), at(99));
        assert_eq!(times("NamespaceReady"), at(10));
    }

    #[test]
    fn what_another_process_says_counts_for_ready_and_is_left_to_it() {
        let verdicts: BTreeMap<_, _> =
            [("IdentityReady", said(1, None)), ("ServerReady", said(1, None))].into();
        let app = |status: &str, reason: &str| {
            let theirs = json!({"type": "ComponentsReady", "status": status, "reason": reason,
                "message": "mend it", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let standing = json!({"conditions": [theirs]});
            let spoken = Spoken {
                kind: "AppIdentity",
                generation: 1,
                standing: &standing,
                verdicts: &verdicts,
                impatient: false,
                now: at(1),
            };
            fold(&spoken).unwrap()
        };
        let withheld = app("False", "SecretMissing");
        assert_eq!(status_of(&withheld, "Ready"), Some(("False".into(), "SecretMissing".into())));
        assert!(status_of(&withheld, "Reconciling").is_some());
        assert_eq!(status_of(&withheld, "ComponentsReady"), None);
        assert_eq!(
            status_of(&app("True", "Ready"), "Ready"),
            Some(("True".into(), "Ready".into()))
        );
        let mut both = withheld.clone();
        both["conditions"].as_array_mut().unwrap().push(json!({"type": "ComponentsReady"}));
        assert_eq!(own("AppIdentity", both), withheld);
    }

    #[test]
    fn a_note_is_true_false_or_unknown_and_ready_does_not_ask_for_it() {
        let region = |note: Option<Option<Invalid>>, standing: &Value| {
            let unasked = || Verdict { generation: 1, unasked: true, ..Verdict::default() };
            let mut verdicts: BTreeMap<_, _> =
                [("Accepted", said(1, None)), ("TrustReady", unasked()), ("DaprReady", unasked())]
                    .into();
            verdicts.extend(note.map(|problem| ("NetworkPolicyEnforced", said(1, problem))));
            let status = fold(&Spoken {
                kind: "Region",
                generation: 1,
                standing,
                verdicts: &verdicts,
                impatient: false,
                now: at(1),
            });
            let status = status.unwrap();
            assert_eq!(status_of(&status, "Ready"), Some(("True".into(), "Ready".into())));
            assert_eq!(status_of(&status, "DaprReady"), None, "nobody asked for Dapr");
            status
        };
        let not = || Invalid::new("NotEnforced", "install one");
        for (problem, shown) in [
            (None, ("True", "Enforced")),
            (Some(not()), ("False", "NotEnforced")),
            (Some(Invalid::waits("CanaryMissing", "none")), ("Unknown", "CanaryMissing")),
        ] {
            let status = region(Some(problem), &Value::Null);
            let shown = Some((shown.0.into(), shown.1.into()));
            assert_eq!(status_of(&status, "NetworkPolicyEnforced"), shown);
        }
        // Until it is spoken of, it stays as it is: a restart changes nothing.
        assert_eq!(status_of(&region(None, &Value::Null), "NetworkPolicyEnforced"), None);
        let status = region(Some(Some(not())), &Value::Null);
        assert_eq!(region(None, &status), status);
    }

    #[test]
    fn fields_of_a_silent_controller_stay_and_those_of_one_that_spoke_are_its_own() {
        let standing = json!({"observedGeneration": 1, "namespace": "prj-a", "apps": {"total": 1}});
        let mut verdicts = all(1, None);
        verdicts[0].1.status = [("apps".to_string(), json!({"total": 2}))].into_iter().collect();
        let full = folded(&verdicts, &standing, 1, false, 1).unwrap();
        assert_eq!(full["apps"]["total"], 2);
        assert_eq!(full.get("namespace"), None);
        let late = folded(&verdicts[..1], &standing, 1, true, 1).unwrap();
        assert_eq!(late["namespace"], "prj-a");
    }
}
