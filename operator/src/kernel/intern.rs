//! Holds once what many objects have in common: the children of one owner have the same labels and owners.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

static LABELS: LazyLock<Interned<BTreeMap<String, String>>> = LazyLock::new(Interned::default);
static OWNERS: LazyLock<Interned<Vec<OwnerReference>>> = LazyLock::new(Interned::default);

/// The labels that equal these, or these.
pub(super) fn labels(labels: BTreeMap<String, String>) -> Arc<BTreeMap<String, String>> {
    // By its text, as the map itself moves.
    let by: Vec<(String, String)> = labels.clone().into_iter().collect();
    LABELS.one(&by, labels)
}

/// The owners that equal these, or these.
pub(super) fn owners(owners: Vec<OwnerReference>) -> Arc<Vec<OwnerReference>> {
    let uids: Vec<String> = owners.iter().map(|owner| owner.uid.clone()).collect();
    OWNERS.one(&uids, owners)
}

/// Values that somebody holds.
struct Interned<T> {
    hasher: RandomState,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    values: HashMap<u64, Weak<T>>,
    /// How many there may be before those that nobody holds any more are taken out.
    limit: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        let held = Mutex::new(Held { values: HashMap::new(), limit: 64 });
        Self { hasher: RandomState::new(), held }
    }
}

impl<T: PartialEq> Interned<T> {
    fn one(&self, by: &impl Hash, value: T) -> Arc<T> {
        let hash = self.hasher.hash_one(by);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.values.get(&hash).and_then(Weak::upgrade)
            && *known == value
        {
            return known;
        }
        if held.values.len() >= held.limit {
            held.values.retain(|_, value| value.strong_count() > 0);
            held.limit = 2 * held.values.len().max(32);
        }
        let value = Arc::new(value);
        held.values.insert(hash, Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_what_nobody_holds_is_forgotten() {
        let interned = Interned::default();
        let (a, b) = (interned.one(&1, "a".to_owned()), interned.one(&1, "a".to_owned()));
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(
            *interned.one(&1, "another of the same hash".to_owned()),
            "another of the same hash"
        );
        for number in 0..1000 {
            interned.one(&number, number.to_string());
        }
        assert!(interned.held.lock().unwrap().values.len() < 100);
    }
}
