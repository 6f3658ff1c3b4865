//! How far a journal is sent: go-back-N over each producer and lane, as pure steps.
//!
//! A record counts as done when metering's watermark passed it, not when a broker took it. Of each producer and lane it knows
//! how far has been sent; it begins behind what is confirmed when it starts, after a failed delivery, and when a lane does not
//! move for a while. It sends nothing itself: the outbox does, and the simulation in its place.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use schemas::id::{Lane, ProducerId, Seq};

use crate::{
    Record,
    fault::{self, Fault},
};

/// How long metering may take to confirm before a lane is sent again; doubled each time up to the most.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_PATIENCE: Duration = Duration::from_secs(320);

/// How far everything is sent.
#[derive(Debug, Default)]
pub struct Shipping {
    lanes: HashMap<(ProducerId, Lane), Sent>,
}

/// How far a producer's records in a lane are sent.
#[derive(Debug)]
struct Sent {
    sent: u64,
    confirmed: u64,
    /// When the lane last moved, or had no reason to.
    since: Instant,
    patience: Duration,
}

impl Shipping {
    /// Whether a record that was read has to be sent; then it counts as sent.
    pub fn wants(&mut self, record: &Record, confirmed: impl FnOnce() -> Seq, at: Instant) -> bool {
        let sent =
            self.lanes.entry((record.header.producer, record.lane)).or_insert_with(|| Sent::new(confirmed().0, at));
        let wanted = record.header.seq.0 > sent.sent;
        if wanted {
            sent.sent = record.header.seq.0;
        }
        wanted
    }

    /// Goes back to what is not confirmed in lanes that do not move although brokers have taken all that was sent; `away` says
    /// that they have not. Where there are such lanes the journal has to be read again from its first record.
    pub fn look(&mut self, away: bool, confirmed: impl Fn(ProducerId, Lane) -> Seq, at: Instant) -> bool {
        let mut stuck = false;
        for ((producer, lane), sent) in &mut self.lanes {
            let confirmed = confirmed(*producer, *lane).0;
            if confirmed > sent.confirmed {
                sent.patience = PATIENCE;
            }
            if away || confirmed > sent.confirmed || confirmed >= sent.sent {
                sent.since = at;
            }
            sent.confirmed = confirmed;
            if at.duration_since(sent.since) > sent.patience && !fault::is(Fault::NotSentAgain) {
                tracing::warn!(lane = lane.0, sent = sent.sent, confirmed, "metering does not confirm; sending again");
                *sent = Sent { patience: (sent.patience * 2).min(MOST_PATIENCE), ..Sent::new(confirmed, at) };
                stuck = true;
            }
        }
        stuck
    }

    /// After a failed delivery nobody knows what arrived: everything that is not confirmed is sent again, from the first record.
    pub fn start_over(&mut self, confirmed: impl Fn(ProducerId, Lane) -> Seq, at: Instant) {
        for ((producer, lane), sent) in self.lanes.iter_mut().filter(|_| !fault::is(Fault::NotSentAgain)) {
            *sent = Sent::new(confirmed(*producer, *lane).0, at);
        }
    }
}

impl Sent {
    fn new(confirmed: u64, at: Instant) -> Self {
        Self { sent: confirmed, confirmed, since: at, patience: PATIENCE }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::id::Offset;

    use super::*;
    use crate::Header;

    #[test]
    fn a_lane_that_does_not_move_is_sent_again_from_what_is_confirmed() {
        let producer = ProducerId::from_bytes([1; 16]);
        let record = |seq| Record {
            lane: Lane(0),
            offset: Offset(seq),
            header: Header { producer, seq: Seq(seq), hash: 0 },
            body: Bytes::new(),
        };
        let (mut shipping, start) = (Shipping::default(), Instant::now());
        let check = |shipping: &mut Shipping, wanted: [bool; 3]| {
            assert_eq!([1, 2, 3].map(|seq| shipping.wants(&record(seq), || Seq(1), start)), wanted);
        };
        check(&mut shipping, [false, true, true]);
        check(&mut shipping, [false, false, false]);
        let late = start + PATIENCE + Duration::from_millis(1);
        assert!(!shipping.look(false, |_, _| Seq(2), start), "it moved");
        assert!(!shipping.look(true, |_, _| Seq(2), late), "brokers have not taken all of it");
        assert!(!shipping.look(false, |_, _| Seq(2), late));
        assert!(shipping.look(false, |_, _| Seq(2), late + PATIENCE + Duration::from_millis(1)));
        check(&mut shipping, [false, false, true]);
        shipping.start_over(|_, _| Seq(0), late);
        check(&mut shipping, [true, true, true]);
    }
}
