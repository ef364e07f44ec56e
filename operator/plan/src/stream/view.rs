//! What one app sees of one kind, and what its server has to be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use zeroize::Zeroizing;

use super::{Body, Content, Entry, Kind, MESSAGE, Withheld};
use crate::SecretBytes;

/// How many names of what is gone are remembered: those that went last.
const REMEMBERED: usize = 100;

/// What one app sees of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// What it gets, by name.
    pub shown: BTreeMap<String, Arc<Body>>,
    /// What is meant for it and not given, in the order of names.
    pub withheld: Vec<Withheld>,
    /// Whether something is still being made ready.
    pub pending: bool,
    /// What it saw once and does not any more, of a kind that servers never list again.
    gone: Vec<Arc<Body>>,
}

/// How an object changed, for a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It came.
    Created,
    /// It is another now.
    Updated,
    /// It is gone.
    Deleted,
}

/// What a server is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The object; of one that is gone the whole old one, since servers close it by what it was.
    pub body: Arc<Body>,
}

/// What an app sees of a kind, out of all entries of its namespace in the order of names, after it saw `before`.
pub fn view<'a>(
    kind: Kind,
    app: &str,
    entries: impl IntoIterator<Item = &'a Entry>,
    before: &View,
) -> View {
    let mut view = View::default();
    let (mut sent, mut size) = (Vec::new(), 0);
    for entry in entries.into_iter().filter(|entry| entry.is_for(app)) {
        match &entry.content {
            Content::Sent(body) => {
                size += body.size();
                sent.push((entry.age, body));
            }
            Content::Withheld(withheld) => view.withheld.push(withheld.clone()),
            Content::Pending => view.pending = true,
        }
    }
    if size > MESSAGE {
        view.withheld.extend(too_much(kind, &mut sent));
        view.withheld.sort();
    }
    view.shown = sent.into_iter().map(|(_, body)| (body.name.clone(), Arc::clone(body))).collect();
    if kind.is_replayed() {
        view.gone = gone(before, &view);
    }
    view
}

type Aged<'a> = ((bool, Option<jiff::Timestamp>), &'a Arc<Body>);

/// Takes out what does not fit into one list; the oldest come first.
fn too_much(kind: Kind, sent: &mut Vec<Aged<'_>>) -> Vec<Withheld> {
    sent.sort_by_key(|(age, _)| *age);
    let mut left = MESSAGE;
    let mut withheld = Vec::new();
    sent.retain(|(_, body)| {
        let fits = body.size() <= left;
        if fits {
            left -= body.size();
        } else {
            withheld.push(Withheld {
                kind,
                name: body.name.clone(),
                reason: "TooMany",
                message: format!(
                    "older ones of its kind leave {left} of the {MESSAGE} bytes that a server takes in one list, and it \
                     has {}: narrow the scopes of what this app does not need",
                    body.json.0.len()
                ),
            });
        }
        fits
    });
    withheld
}

fn gone(before: &View, now: &View) -> Vec<Arc<Body>> {
    let left = before.shown.values().filter(|body| !now.shown.contains_key(&body.name));
    let left = left.map(|body| Arc::new(tombstone(body)));
    let still = before.gone.iter().filter(|body| !now.shown.contains_key(&body.name)).cloned();
    let mut gone: Vec<_> = still.chain(left).collect();
    gone.drain(..gone.len().saturating_sub(REMEMBERED));
    gone
}

/// The name alone is enough for those kinds, and holds no secret for as long as it is remembered.
fn tombstone(body: &Body) -> Body {
    let json = json!({"metadata": {"name": body.name}}).to_string().into_bytes();
    Body { name: body.name.clone(), json: SecretBytes(Zeroizing::new(json)) }
}

/// What a server is told that knows `known`, and what it knows then.
///
/// A Configuration that is gone is not told: the server would end, and could not start again until it is back. It is
/// compared with what comes in its place.
pub fn told(
    kind: Kind,
    known: &BTreeMap<String, Arc<Body>>,
    now: &View,
) -> (Vec<Event>, BTreeMap<String, Arc<Body>>) {
    let mut events = Vec::new();
    let mut then = now.shown.clone();
    for (name, old) in known.iter().filter(|(name, _)| !now.shown.contains_key(*name)) {
        if kind == Kind::Configuration {
            then.insert(name.clone(), Arc::clone(old));
        } else {
            events.push(Event { change: Change::Deleted, body: Arc::clone(old) });
        }
    }
    for (name, new) in &now.shown {
        let change = match known.get(name) {
            Some(old) if Arc::ptr_eq(old, new) || old == new => continue,
            Some(_) => Change::Updated,
            None => Change::Created,
        };
        events.push(Event { change, body: Arc::clone(new) });
    }
    (events, then)
}

/// What a server is told that comes back: all that it sees, and what it does not see any more. What it knows already it
/// takes for unchanged, or for unknown.
pub fn replay(now: &View) -> Vec<Event> {
    let gone =
        now.gone.iter().map(|body| Event { change: Change::Deleted, body: Arc::clone(body) });
    let shown =
        now.shown.values().map(|body| Event { change: Change::Created, body: Arc::clone(body) });
    gone.chain(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::{Found, Rules, render};
    use super::*;

    fn entry(kind: Kind, name: &str, spec: &Value, scopes: &[&str], created: &str) -> Entry {
        let object = json!({
            "metadata": {"name": name, "namespace": "prj-shop", "creationTimestamp": created},
            "spec": spec, "scopes": scopes,
        });
        render(kind, &object, &Rules::default(), &mut |_| Found::Unknown)
    }

    fn component(name: &str, host: &str, scopes: &[&str]) -> Entry {
        let spec = json!({"type": "state.redis", "metadata": [{"name": "host", "value": host}]});
        entry(Kind::Component, name, &spec, scopes, "2026-01-01T00:00:00Z")
    }

    fn seen(kind: Kind, entries: &[Entry], before: &View) -> View {
        view(kind, "orders", entries, before)
    }

    fn said(events: &[Event]) -> Vec<(Change, &str)> {
        events.iter().map(|event| (event.change, event.body.name.as_str())).collect()
    }

    #[test]
    fn a_server_is_told_each_change_once() {
        let kind = Kind::Component;
        let before = seen(
            kind,
            &[component("a", "1", &[]), component("b", "1", &[]), component("c", "1", &[])],
            &View::default(),
        );
        let now = seen(
            kind,
            &[component("b", "2", &[]), component("c", "1", &[]), component("d", "1", &[])],
            &before,
        );
        let (events, known) = told(kind, &before.shown, &now);
        assert_eq!(
            said(&events),
            [(Change::Deleted, "a"), (Change::Updated, "b"), (Change::Created, "d")]
        );
        assert_eq!(told(kind, &known, &now).0, []);
    }

    #[test]
    fn what_a_scope_takes_away_is_told_as_the_whole_old_object() {
        let before = seen(Kind::Component, &[component("a", "1", &[])], &View::default());
        let now = seen(Kind::Component, &[component("a", "2", &["payments"])], &before);
        let (events, _) = told(Kind::Component, &before.shown, &now);
        assert_eq!(said(&events), [(Change::Deleted, "a")]);
        let old: Value = serde_json::from_slice(&events[0].body.json.0).unwrap();
        assert_eq!(old["spec"]["type"], "state.redis");
        assert_eq!(old["spec"]["metadata"][0]["value"], "1", "not what the others get now");
        let back = seen(Kind::Component, &[component("a", "2", &["orders", "payments"])], &now);
        assert_eq!(said(&told(Kind::Component, &now.shown, &back).0), [(Change::Created, "a")]);
    }

    #[test]
    fn a_configuration_that_is_gone_ends_nobody_and_one_that_comes_back_the_same_is_no_event() {
        let kind = Kind::Configuration;
        let named = |spec| entry(kind, "orders-dapr", &spec, &[], "2026-01-01T00:00:00Z");
        let before = seen(kind, &[named(json!({"a": 1}))], &View::default());
        let (events, known) = told(kind, &before.shown, &seen(kind, &[], &before));
        assert_eq!(said(&events), []);
        let same = seen(kind, &[named(json!({"a": 1}))], &View::default());
        assert_eq!(said(&told(kind, &known, &same).0), []);
        let other = seen(kind, &[named(json!({"a": 2}))], &View::default());
        assert_eq!(said(&told(kind, &known, &other).0), [(Change::Updated, "orders-dapr")]);
    }

    #[test]
    fn a_server_that_comes_back_is_told_what_there_is_and_what_is_gone() {
        let kind = Kind::HttpEndpoint;
        let endpoint = |name, scopes: &[&str]| {
            let spec =
                json!({"baseUrl": "https://x", "headers": [{"name": "key", "value": "geheim"}]});
            entry(kind, name, &spec, scopes, "2026-01-01T00:00:00Z")
        };
        let first = seen(
            kind,
            &[endpoint("a", &[]), endpoint("b", &[]), endpoint("c", &["payments"])],
            &View::default(),
        );
        let second = seen(kind, &[endpoint("b", &["payments"]), endpoint("d", &[])], &first);
        let replayed = replay(&second);
        assert_eq!(
            said(&replayed),
            [(Change::Deleted, "a"), (Change::Deleted, "b"), (Change::Created, "d")],
            "and nothing of what it never saw"
        );
        let buried = String::from_utf8(replayed[0].body.json.0.to_vec()).unwrap();
        assert!(!buried.contains("geheim"), "{buried}");
        let third = seen(kind, &[endpoint("a", &[]), endpoint("d", &[])], &second);
        assert_eq!(
            said(&replay(&third)),
            [(Change::Deleted, "b"), (Change::Created, "a"), (Change::Created, "d")]
        );
    }

    #[test]
    fn only_so_many_that_went_are_remembered() {
        let kind = Kind::Resiliency;
        let mut before = View::default();
        for number in 0..2 * REMEMBERED {
            let one =
                entry(kind, &format!("r{number:03}"), &json!({}), &[], "2026-01-01T00:00:00Z");
            before = seen(kind, &[one], &before);
        }
        assert_eq!(before.gone.len(), REMEMBERED);
        assert_eq!(before.gone.last().map(|body| body.name.as_str()), Some("r198"));
    }

    #[test]
    fn a_list_that_is_too_long_for_one_message_keeps_the_oldest_and_says_so() {
        let big = |name, created| {
            let spec = json!({"type": "state.redis", "metadata": [
                {"name": "blob", "value": "x".repeat(MESSAGE / 2 - 1000)}]});
            entry(Kind::Component, name, &spec, &[], created)
        };
        let entries = [
            big("a-new", "2026-03-01T00:00:00Z"),
            big("b", "2026-01-01T00:00:00Z"),
            big("c", "2026-02-01T00:00:00Z"),
            entry(Kind::Component, "small", &json!({}), &[], "2026-04-01T00:00:00Z"),
        ];
        let view = seen(Kind::Component, &entries, &View::default());
        assert_eq!(view.shown.keys().collect::<Vec<_>>(), ["b", "c", "small"]);
        let [withheld] = &view.withheld[..] else { panic!("{:?}", view.withheld) };
        assert_eq!((withheld.name.as_str(), withheld.reason), ("a-new", "TooMany"));
        let sum: usize = view.shown.values().map(|body| body.json.0.len()).sum();
        assert!(sum < 4 * 1024 * 1024);
    }

    #[test]
    fn what_is_meant_for_others_is_neither_shown_nor_spoken_of() {
        let mut entries = vec![component("a", "1", &["payments"])];
        let spec =
            json!({"metadata": [{"name": "key", "secretKeyRef": {"name": "s", "key": "k"}}]});
        entries.push(entry(Kind::Component, "b", &spec, &["payments"], "2026-01-01T00:00:00Z"));
        assert_eq!(seen(Kind::Component, &entries, &View::default()), View::default());
        let theirs = view(Kind::Component, "payments", &entries, &View::default());
        assert!(theirs.shown.contains_key("a") && theirs.pending);
    }
}
