//! What a controller has to do: each place at most once at a time, now or later, by at most so many at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::store::Place;

/// A queue of places that never holds one twice and never hands out one that is still being worked on.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// When each place is due.
    due: HashMap<Place, Instant>,
    /// The same in the order of time.
    order: BTreeSet<(Instant, Place)>,
    running: HashSet<Place>,
}

impl Queue {
    /// Puts a place in line, due at once.
    pub(super) fn add(&self, place: Place) {
        self.add_at(place, Instant::now());
    }

    /// Puts a place in line, due after a while; one that is due earlier stays so.
    pub(super) fn add_after(&self, place: Place, wait: Duration) {
        self.add_at(place, Instant::now() + wait);
    }

    fn add_at(&self, place: Place, at: Instant) {
        let mut state = self.lock();
        if state.due.get(&place).is_some_and(|due| *due <= at) {
            return;
        }
        if let Some(later) = state.due.insert(place.clone(), at) {
            state.order.remove(&(later, place.clone()));
        }
        state.order.insert((at, place));
        drop(state);
        self.changed.notify_one();
    }

    /// The next place that is due and that nobody works on. It counts as being worked on until [`Queue::done`].
    pub(super) async fn next(&self) -> Place {
        loop {
            let wake = match self.take() {
                Ok(place) => return place,
                Err(wake) => wake,
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn take(&self) -> Result<Place, Option<Instant>> {
        let mut state = self.lock();
        let now = Instant::now();
        // What is due but still worked on waits for `done`.
        let next =
            state.order.iter().find(|(at, place)| *at > now || !state.running.contains(place));
        let Some((at, place)) = next.cloned() else { return Err(None) };
        if at > now {
            return Err(Some(at));
        }
        state.due.remove(&place);
        state.order.remove(&(at, place.clone()));
        state.running.insert(place.clone());
        Ok(place)
    }

    /// Says that the work on a place is over.
    pub(super) fn done(&self, place: &Place) {
        self.lock().running.remove(place);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::new(None, name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_added_twice_is_worked_on_once() {
        let queue = Queue::default();
        queue.add(place("a"));
        queue.add(place("a"));
        assert_eq!(queue.next().await, place("a"));
        assert!(queue.lock().due.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_added_while_worked_on_comes_back_after_it_is_done() {
        let queue = Queue::default();
        queue.add(place("a"));
        let first = queue.next().await;
        queue.add(place("a"));
        let early = tokio::time::timeout(Duration::from_secs(5), queue.next()).await;
        assert!(early.is_err(), "one place must never be worked on twice at a time");
        queue.done(&first);
        assert_eq!(queue.next().await, place("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn now_wins_over_later_and_later_still_comes() {
        let queue = Queue::default();
        queue.add_after(place("a"), Duration::from_mins(1));
        queue.add_after(place("b"), Duration::from_secs(5));
        queue.add(place("a"));
        assert_eq!(queue.next().await, place("a"));
        let before = Instant::now();
        assert_eq!(queue.next().await, place("b"));
        assert_eq!(before.elapsed().as_secs(), 5);
    }
}
