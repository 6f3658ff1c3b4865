//! When the keys of an issuer are looked at because a token names one that is not known, and how its call waits for that.
//!
//! Whoever sends a token says which key has signed it, so anybody may call for a look; a small allowance bounds how many there are. All who wait
//! do so for the same look, and only one that began after a token came says that its key is none. Nothing here looks: [`Looks`] says
//! when to, and is told what came of it.

use std::time::Duration;

use schemas::time::Time;
use tokio::sync::watch;

/// Tokens may call for so many looks at once, and for one more each time that this has passed: 10 a minute, and 15 in any one.
const AT_ONCE: u32 = 5;
const EVERY: Duration = Duration::from_secs(6);

/// The looks at the keys of one issuer.
#[derive(Debug, Default)]
pub(super) struct Looks(watch::Sender<State>);

/// Looks are counted from 1, and one ends before the next begins.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    begun: u64,
    done: u64,
    /// The last that brought keys.
    good: u64,
    /// Whether a token has called for one that has not begun.
    wanted: bool,
    /// When the allowance is whole again.
    whole_at: Time,
}

/// What a token waits for whose key is not known.
pub(crate) struct Look {
    looks: watch::Receiver<State>,
    sender: watch::Sender<State>,
    /// The last look that began before it came.
    before: u64,
}

impl Looks {
    /// One begins.
    pub(super) fn begin(&self) {
        self.0.send_modify(|state| (state.begun, state.wanted) = (state.begun + 1, false));
    }

    /// It is over, and has brought keys or not. What it brought is known before this.
    pub(super) fn end(&self, is_good: bool) {
        self.0.send_modify(|state| {
            state.done = state.begun;
            if is_good {
                state.good = state.begun;
            }
        });
    }

    /// Waits until a token calls for one.
    pub(super) async fn wanted(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|state| state.wanted).await;
    }

    /// What a token that has just come waits for.
    pub(super) fn after_now(&self) -> Look {
        let looks = self.0.subscribe();
        let before = looks.borrow().begun;
        Look { looks, sender: self.0.clone(), before }
    }
}

impl Look {
    /// Whether one that began since then is over, and if so whether it brought keys.
    pub(crate) fn came(&mut self) -> Option<bool> {
        let state = *self.looks.borrow_and_update();
        (state.done > self.before).then_some(state.good > self.before)
    }

    /// Waits for what happens next; not if another look would be needed that may not begin for so long.
    pub(crate) async fn next(&mut self, at: Time) -> Result<(), Duration> {
        let mut pause = None;
        self.sender.send_if_modified(|state| {
            // One that is under way, or called for, may already bring the key.
            if state.wanted || state.begun > state.done {
                return false;
            }
            pause = state.pause(at);
            state.wanted = pause.is_none();
            state.wanted
        });
        if let Some(left) = pause {
            return Err(left);
        }
        // The sender is here as well.
        let _ = self.looks.changed().await;
        Ok(())
    }
}

impl State {
    /// Takes a look from the allowance at an instant; if there is none, says for how long there is not.
    fn pause(&mut self, at: Time) -> Option<Duration> {
        // A clock that was set back stretches no pause.
        self.whole_at = self.whole_at.clamp(at, at.after(EVERY * AT_ONCE));
        let left = self.whole_at.since(at.after(EVERY * (AT_ONCE - 1)));
        if !left.is_zero() {
            return Some(left);
        }
        self.whole_at = self.whole_at.after(EVERY);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    #[test]
    fn tokens_call_for_a_few_looks_at_once_and_then_for_one_now_and_then() {
        let mut state = State::default();
        let mut look = |at: i64| state.pause(second(at)).map_or(0, |left| left.as_secs());
        assert_eq!([1_000; 7].map(&mut look), [0, 0, 0, 0, 0, 6, 6]);
        assert_eq!([1_001, 1_005, 1_006, 1_006, 1_018, 1_018, 1_018].map(&mut look), [5, 1, 0, 6, 0, 0, 6]);
        assert_eq!([10; 2].map(&mut look), [6, 6], "the clock was set back, and the pause is none of hours");
        assert_eq!([16, 2_000].map(&mut look), [0, 0]);
    }

    #[test]
    fn only_a_look_that_began_after_a_token_came_says_that_its_key_is_none() {
        let looks = Looks::default();
        looks.begin();
        let mut look = looks.after_now();
        looks.end(true);
        assert_eq!(look.came(), None, "it may have been asked before the key was there");
        looks.begin();
        assert_eq!(look.came(), None);
        looks.end(false);
        assert_eq!(look.came(), Some(false));
        looks.begin();
        looks.end(true);
        assert_eq!(look.came(), Some(true));
        assert_eq!(looks.after_now().came(), None);
    }
}
