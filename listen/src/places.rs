//! The places of a listener, and who gives one up where all are taken and somebody comes: the connection for which nothing has been done for
//! the longest time. So who says nothing keeps nobody out.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a connection that has to leave may take to send what it still has for its client. One that has nothing leaves at once.
const GOODBYE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(10) };

/// How long whoever waits for a place waits until another connection is asked to leave.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a connection has to ask for something before it may be asked to leave: else those who come would push each other out.
const ARRIVAL: Duration = Duration::from_millis(250);

/// All of them.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts what happens: a connection comes, or what was done for one ends.
    moment: u64,
    /// Somebody waits, and nobody could leave.
    is_wanted: bool,
    /// By the moment in which they came.
    open: HashMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    /// What is done for it now.
    works: usize,
    /// Since when that is nothing.
    since: u64,
    /// When it came; nothing once something was done for it.
    came: Option<Instant>,
    /// Whether its place is for another.
    is_given_up: bool,
    ending: CancellationToken,
}

impl Seat {
    fn may_leave(&self) -> bool {
        self.works == 0 && !self.is_given_up && self.came.is_none_or(|came| came.elapsed() >= ARRIVAL)
    }

    fn leave(&mut self) {
        self.is_given_up = true;
        self.ending.cancel();
    }
}

/// A place, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) place: Place,
    _permit: OwnedSemaphorePermit,
}

/// The place of a connection, as that knows it.
#[derive(Clone, Debug)]
pub struct Place {
    of: Arc<Places>,
    number: u64,
    ending: CancellationToken,
}

/// Something that is done for a connection, for as long as this is kept: until then it gives its place to nobody.
#[derive(Debug)]
pub struct Work(Place);

impl Places {
    /// So many.
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(places)), state: Mutex::default() })
    }

    /// A place for a connection, which ends with `shutdown` at the latest.
    pub(super) async fn take(self: &Arc<Self>, shutdown: &CancellationToken) -> io::Result<Taken> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.given_up().await?,
        };
        let ending = shutdown.child_token();
        let number = self.lock().come(ending.clone());
        Ok(Taken { place: Place { of: Arc::clone(self), number, ending }, _permit: permit })
    }

    /// Waits for a place that somebody leaves.
    async fn given_up(&self) -> io::Result<OwnedSemaphorePermit> {
        let mut free = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            self.lock().want();
            // Who was asked to leave may have been asked for something in that moment, and stay.
            if let Ok(permit) = timeout(PATIENCE, free.as_mut()).await {
                self.lock().is_wanted = false;
                return permit.map_err(io::Error::other);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn come(&mut self, ending: CancellationToken) -> u64 {
        self.moment += 1;
        let came = Some(Instant::now());
        self.open.insert(self.moment, Seat { works: 0, since: self.moment, came, is_given_up: false, ending });
        self.moment
    }

    /// Asks one to leave, or, where something is done for all, the first of which that is no longer true.
    fn want(&mut self) {
        let idle = self.open.values_mut().filter(|seat| seat.may_leave()).min_by_key(|seat| seat.since);
        self.is_wanted = idle.is_none();
        if let Some(seat) = idle {
            seat.leave();
        }
    }

    fn begun(&mut self, number: u64) {
        if let Some(seat) = self.open.get_mut(&number) {
            seat.works += 1;
            seat.came = None;
        }
    }

    fn ended(&mut self, number: u64) {
        self.moment += 1;
        let Some(seat) = self.open.get_mut(&number) else { return };
        seat.works = seat.works.saturating_sub(1);
        if seat.works > 0 {
            return;
        }
        seat.since = self.moment;
        if self.is_wanted {
            seat.leave();
            self.is_wanted = false;
        }
    }
}

impl Place {
    /// Cancelled when the connection is to come to an end: with its listener, or for another.
    pub const fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Takes note that something is done for the connection.
    pub fn work(&self) -> Work {
        self.of.lock().begun(self.number);
        Work(self.clone())
    }

    /// Whether its place is for another and nothing is done for it.
    fn is_over(&self) -> bool {
        self.of.lock().open.get(&self.number).is_none_or(|seat| seat.works == 0 && seat.is_given_up)
    }
}

impl Taken {
    /// Waits until the connection has had the time to leave after its place was given up. What is done for it may take longer; and at the
    /// end of the listener it has the time of its drain.
    pub(super) async fn left(&self) {
        self.place.ending.cancelled().await;
        loop {
            sleep(GOODBYE).await;
            if self.place.is_over() {
                return;
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.place.of.lock().open.remove(&self.place.number);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.of.lock().ended(self.0.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_just_come_stays_until_he_could_have_asked() {
        let (places, end) = (Places::new(1), CancellationToken::new());
        let first = places.take(&end).await.unwrap();
        places.lock().want();
        assert!(!first.place.ending().is_cancelled() && places.lock().is_wanted);
        drop(first.place.work());
        assert!(first.place.ending().is_cancelled() && !places.lock().is_wanted);
    }

    #[tokio::test]
    async fn a_listener_that_ends_leaves_what_is_sent_to_its_drain() {
        let (places, end) = (Places::new(1), CancellationToken::new());
        let only = places.take(&end).await.unwrap();
        drop(only.place.work());
        end.cancel();
        assert!(timeout(4 * GOODBYE, only.left()).await.is_err());
        places.lock().want();
        only.left().await;
    }

    #[tokio::test]
    async fn who_has_been_idle_for_longest_leaves_and_nobody_for_whom_something_is_done() {
        let (places, end) = (Places::new(3), CancellationToken::new());
        let [first, second, third] =
            [places.take(&end).await.unwrap(), places.take(&end).await.unwrap(), places.take(&end).await.unwrap()];
        let leaves = |of: &Taken| of.place.ending().is_cancelled();
        // The first was asked last.
        drop(third.place.work());
        drop(first.place.work());
        let work = second.place.work();
        assert!(!leaves(&first) && !leaves(&second) && !leaves(&third));
        let (fourth, ()) = tokio::join!(places.take(&end), async {
            third.place.ending().cancelled().await;
            drop(third);
        });
        let fourth = fourth.unwrap();
        assert!(!leaves(&first) && !leaves(&second) && !leaves(&fourth));
        let (fifth, ()) = tokio::join!(places.take(&end), async {
            first.place.ending().cancelled().await;
            drop(first);
        });
        let works = [fourth.place.work(), fifth.as_ref().unwrap().place.work()];
        // Something is done for all: it is the first that is ready.
        let (sixth, ()) = tokio::join!(places.take(&end), async {
            tokio::task::yield_now().await;
            assert!(!leaves(&second) && !leaves(&fourth));
            drop(work);
            assert!(leaves(&second));
            drop(second);
        });
        drop(works);
        assert!(!leaves(&fourth) && !leaves(&sixth.unwrap()));
    }
}
