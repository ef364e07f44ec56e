//! What a controller has to do: each place at most once at a time, now or later, by at most so many at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
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
    /// When each place is due. The heap may hold older entries of the same place; this is the truth.
    due: HashMap<Place, Instant>,
    heap: BinaryHeap<Reverse<(Instant, Place)>>,
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
        if state.due.get(&place).is_none_or(|due| at < *due) {
            state.due.insert(place.clone(), at);
            state.heap.push(Reverse((at, place)));
            drop(state);
            self.changed.notify_one();
        }
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
        let mut busy = Vec::new();
        let found = loop {
            let Some(Reverse((at, place))) = state.heap.peek().cloned() else { break Err(None) };
            if state.due.get(&place) != Some(&at) {
                state.heap.pop();
            } else if at > now {
                break Err(Some(at));
            } else if state.running.contains(&place) {
                state.heap.pop();
                busy.push((at, place));
            } else {
                state.heap.pop();
                state.due.remove(&place);
                state.running.insert(place.clone());
                break Ok(place);
            }
        };
        // What is due but being worked on goes back: `done` wakes the next turn.
        state.heap.extend(busy.into_iter().map(Reverse));
        found
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
