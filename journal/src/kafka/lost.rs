//! When a client may have lost the cluster for good, and what is said of an outage; instants in, decisions out.
//!
//! librdkafka forgets all brokers, those it was configured with too, when a broker that has just started lists none, and its
//! bootstrap may be called off in the same moment; then it connects no more (its issue 5301). No setting prevents it, and from
//! within such a client looks like one whose brokers are away. So one that hears nothing for long is asked, and one that has
//! no answer is replaced: that costs a connection where the brokers are only away, and nothing where they are not.

use std::time::{Duration, Instant};

/// How long a client may hear nothing before it is asked. One whose broker restarts is back by itself well within this, since
/// it tries every second; and what waits for a client that is not, waits no longer than committing may take.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// How long no client may complain before an outage counts as over: some times as long as one waits to connect again.
const SETTLED: Duration = Duration::from_secs(5);

/// How long a client has heard nothing.
#[derive(Debug)]
pub(crate) struct Watch {
    silence: Duration,
    since: Instant,
}

impl Watch {
    pub(super) fn new(silence: Duration, at: Instant) -> Self {
        Self { silence, since: at }
    }

    /// Whether it is to be asked now; the next time is as long after this.
    pub(super) fn look(&mut self, heard: bool, at: Instant) -> bool {
        let ask = !heard && at.duration_since(self.since) >= self.silence;
        if heard || ask {
            self.since = at;
        }
        ask
    }
}

/// Whether brokers are away, of all clients together: it is said once that they are, and once that they are back.
#[derive(Debug, Default)]
pub(super) struct Outage {
    complained: Option<Instant>,
}

impl Outage {
    /// A client has no broker. Whether this is news.
    pub(super) fn begins(&mut self, at: Instant) -> bool {
        self.complained.replace(at).is_none()
    }

    /// A client has an answer. Whether this ends an outage: while another one still complains it does not.
    pub(super) fn ends(&mut self, at: Instant) -> bool {
        let over = self.complained.is_some_and(|last| at.duration_since(last) >= SETTLED);
        if over {
            self.complained = None;
        }
        over
    }

    pub(super) fn is_on(&self) -> bool {
        self.complained.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_silence_is_asked_about_and_not_at_once_again() {
        let start = Instant::now();
        let second = |count: u64| start + Duration::from_secs(count);
        let mut watch = Watch::new(SILENCE, start);
        for (heard, at, asked) in [
            (false, 19, false),
            (true, 19, false),
            (false, 38, false),
            (true, 60, false),
            (false, 79, false),
            (false, 80, true),
            (false, 81, false),
            (false, 99, false),
            (false, 100, true),
        ] {
            assert_eq!(watch.look(heard, second(at)), asked, "after {at} s");
        }
    }

    #[test]
    fn an_outage_is_said_once_and_its_end_once() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert!(!outage.ends(start), "there was none");
        assert!(outage.begins(start));
        for _ in 0..46 {
            assert!(!outage.begins(start + SETTLED));
        }
        assert!(!outage.ends(start + SETTLED), "others still complain");
        assert!(outage.ends(start + SETTLED * 2));
        assert!(!outage.ends(start + SETTLED * 3) && !outage.is_on());
        assert!(outage.begins(start + SETTLED * 3));
    }
}
