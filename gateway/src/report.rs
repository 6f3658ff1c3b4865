//! What a gateway says each second, whether or not it has calls: refusals, counters, the low watermark of each lane.
//!
//! The low watermark promises that no call admitted before it is still to come. It is taken before the open attempts are
//! looked at, and an attempt is open until its last record is written, so the promise holds for all workers together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use journal::Position;
use schemas::{event::Event, time::now};

use crate::{
    metrics,
    refusals::Refusals,
    sweep::Flights,
    worker::{Shared, Worker},
};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Reports for all workers; one of them runs it.
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    flights: Vec<Arc<Flights>>,
    refusals: Vec<Arc<Refusals>>,
    low_watermark: Arc<AtomicI64>,
    /// What was needed of the journal at the last report, and where it ended: what was used by then has been reported.
    reported: (Position, Position),
}

impl Reporter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        flights: Vec<Arc<Flights>>,
        refusals: Vec<Arc<Refusals>>,
        low_watermark: Arc<AtomicI64>,
    ) -> Self {
        Self { shared, flights, refusals, low_watermark, reported: <(Position, Position)>::default() }
    }

    pub(crate) async fn run(mut self, worker: Arc<Worker>) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            self.report(&worker);
        }
    }

    fn report(&mut self, worker: &Worker) {
        let open = self.flights.iter().map(|flights| flights.count()).sum();
        metrics::standing(open, self.shared.connections.load(Ordering::Relaxed), &self.shared.journal);
        metrics::cached(self.shared.cache.standing());
        if worker.emitter.failing() {
            // What is said later says it all: refusals are counted on, counters and watermarks are totals.
            return;
        }
        for refused in self.refusals.iter().flat_map(|refusals| refusals.take()) {
            let lane = worker.lane(&refused.subject.tenant);
            drop(worker.write(lane, &Event::Refused(Box::new(refused)), None));
        }
        // Whatever stands before this counts by now.
        let settling = self.shared.limits.settling();
        let end = self.shared.journal.position();
        drop(settling);
        // What was written since the last report may have used instances at home in other lanes, which nothing but this journal tells
        // of yet.
        let needed = self.flights.iter().map(|flights| flights.needed_from(end)).min();
        let (before, written) = self.reported;
        // A power failure may take the last record of a call and must not find the first one trimmed.
        if self.shared.journal.synced() >= written {
            self.shared.journal.keep_from(before);
        }
        self.reported = (needed.unwrap_or(end).min(written), end);
        let at = now();
        let mut lows = vec![at; usize::from(self.shared.lanes)];
        self.flights.iter().for_each(|flights| flights.oldest(&mut lows));
        if let Some(lowest) = lows.iter().min() {
            self.low_watermark.store(lowest.as_micros(), Ordering::Relaxed);
        }
        for (lane, report) in self.shared.limits.reports(at, &lows) {
            drop(worker.write(lane, &report, None));
        }
    }
}
