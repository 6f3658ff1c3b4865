//! Whose query begins next: places are few, and no token may have them all.
//!
//! A token begins a query while it has fewer running than there are places free: of eight, alone, it has four; the next has two of the other
//! four, and those after it one each. Among those that wait, whoever has the fewest running is next, and among equals whoever came first. Only
//! so many wait of a token that it does not keep all connections of a listener under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::policy::Digest;
use tokio::sync::oneshot;

/// The most queries of a token that wait: half of the connections of the smallest listener.
const WAITING: usize = 128;

/// The places.
pub(super) struct Turns {
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// By token, its queries that run.
    running: HashMap<Digest, usize>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

struct Waiting {
    whose: Option<Digest>,
    gives: oneshot::Sender<Turn>,
}

/// A place, for as long as this is kept.
pub(super) struct Turn {
    of: Arc<Turns>,
    whose: Option<Digest>,
}

impl Turns {
    /// So many places.
    pub(super) fn new(places: usize) -> Arc<Self> {
        let state = State { free: places, running: HashMap::new(), waiting: Vec::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Waits for a place for a token; an error where that has too many that wait. What is asked by no token is this process's own, and may have
    /// all. Who drops this waits no more.
    pub(super) fn ask(self: &Arc<Self>, whose: Option<Digest>) -> oneshot::Receiver<Turn> {
        let (gives, turn) = oneshot::channel();
        self.lock().wait(Waiting { whose, gives });
        self.deal();
        turn
    }

    /// Gives the places that are free to whom they are due.
    fn deal(self: &Arc<Self>) {
        loop {
            let next = self.lock().next();
            let Some(Waiting { whose, gives }) = next else { return };
            // Outside of the lock: a turn that nobody waits for any more is dropped, and so given back.
            drop(gives.send(Turn { of: Arc::clone(self), whose }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.lock().free
    }
}

impl State {
    fn wait(&mut self, one: Waiting) {
        self.waiting.retain(|one| !one.gives.is_closed());
        let is_full = self.waiting.iter().filter(|other| other.whose == one.whose).count() >= WAITING;
        if one.whose.is_none() || !is_full {
            self.waiting.push(one);
        }
    }

    /// Who begins next, and is counted from now on.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|one| !one.gives.is_closed());
        let running = |whose: Option<Digest>| whose.and_then(|token| self.running.get(&token)).copied().unwrap_or(0);
        let waiting = self.waiting.iter().map(|one| running(one.whose)).enumerate();
        let (at, _) = waiting.filter(|(_, running)| *running < self.free).min_by_key(|(_, running)| *running)?;
        let next = self.waiting.remove(at);
        self.free -= 1;
        if let Some(token) = next.whose {
            *self.running.entry(token).or_default() += 1;
        }
        Some(next)
    }

    /// A query has ended.
    fn ended(&mut self, whose: Option<Digest>) {
        self.free += 1;
        let Some(token) = whose else { return };
        let left = self.running.remove(&token).unwrap_or(0).saturating_sub(1);
        if left > 0 {
            self.running.insert(token, left);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.lock().ended(self.whose);
        self.of.deal();
    }
}

#[cfg(test)]
mod tests {
    use schemas::policy::Digest;
    use tokio::sync::oneshot::{Receiver, error::TryRecvError};

    use super::{Turn, Turns, WAITING};

    #[test]
    fn no_token_has_all_places_and_whoever_has_the_fewest_is_next() {
        let turns = Turns::new(8);
        let [one, other, third] = ["one", "other", "third"].map(|token| Some(Digest::of(token)));
        let given = |asked: &mut Vec<Receiver<Turn>>| -> Vec<Turn> {
            asked.iter_mut().filter_map(|turn| turn.try_recv().ok()).collect()
        };
        let mut asked = [one, other, third].map(|token| (0..8).map(|_| turns.ask(token)).collect::<Vec<_>>());
        let [mut ones, others, thirds] = asked.each_mut().map(given);
        assert_eq!(([ones.len(), others.len(), thirds.len()], turns.free()), ([4, 2, 1], 1));
        // Somebody new is never kept waiting by these three.
        let mut own = vec![turns.ask(Some(Digest::of("fourth")))];
        let fourth = given(&mut own);
        assert_eq!((fourth.len(), turns.free()), (1, 0));
        // Of two places the first goes to whom the fewest are running of.
        ones.truncate(2);
        assert_eq!(turns.free(), 1);
        let [more, again, last] = asked.each_mut().map(given);
        assert_eq!([more.len(), again.len(), last.len()], [0, 0, 1]);
        // Those that nobody waits for any more get none, and what ends is given back.
        let [left, mut of_other, of_third] = asked;
        drop(left);
        drop(ones);
        let new = given(&mut of_other);
        assert_eq!((new.len(), turns.free()), (1, 2));
        drop((of_other, of_third));
        drop((others, thirds, last, fourth, new));
        assert_eq!(turns.free(), 8);
    }

    #[test]
    fn only_so_many_of_a_token_wait() {
        let turns = Turns::new(2);
        let [one, other] = ["one", "other"].map(|token| Some(Digest::of(token)));
        let _running = turns.ask(one).try_recv();
        let mut asked: Vec<_> = (0..WAITING).map(|_| turns.ask(one)).collect();
        assert!(asked.iter_mut().all(|turn| turn.try_recv().err() == Some(TryRecvError::Empty)));
        assert_eq!(turns.ask(one).try_recv().err(), Some(TryRecvError::Closed));
        assert_ne!(turns.ask(other).try_recv().err(), Some(TryRecvError::Closed));
        assert_ne!(turns.ask(None).try_recv().err(), Some(TryRecvError::Closed));
        // Who waits no more makes room.
        drop(asked.pop());
        assert_ne!(turns.ask(one).try_recv().err(), Some(TryRecvError::Closed));
    }
}
