//! One lane's transactions: what metering made of its input, whole or not at all.
//!
//! The transactional ids are those of the lane, so initialising their producers ends what an earlier owner left open, and nothing
//! that an earlier owner still tries can be committed.
//!
//! There are two of them in turn. A transaction is committed before the broker has written its marks, and until it has, librdkafka
//! waits 20 ms at a time to begin another one of the same id; with the other id it begins at once. Order stays what it was: a
//! transaction begins when the one before is committed, so its records come later in every partition, and readers are given
//! none of them before the marks of those that come first.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::{id::Lane, topics::Topic};

use super::client::{Client, Deliveries, flush, millis, unreachable};
use crate::{Outputs, error::Error};

/// After this the broker gives a transaction up. Readers wait for it as long, so it is short.
const TRANSACTION: Duration = Duration::from_secs(10);

/// How long a full queue is waited for at a time.
const BREATH: Duration = Duration::from_millis(10);

pub(super) struct LaneProducer {
    lane: Lane,
    producers: [BaseProducer<Deliveries>; 2],
    /// How many transactions were begun.
    begun: AtomicUsize,
    ledger: String,
    decisions: String,
}

impl LaneProducer {
    /// Takes the lane over: fences every producer of it that was initialised earlier, and ends their transactions.
    pub(super) fn take_over(client: &Client, lane: Lane) -> Result<Self, Error> {
        let id = |turn| format!("{}-metering-{}{turn}", client.options().prefix, lane.0);
        let producers = [Self::producer(client, &id(""))?, Self::producer(client, &id("-b"))?];
        let (ledger, decisions) = (client.topic(Topic::Ledger), client.topic(Topic::Decisions));
        Ok(Self { lane, producers, begun: AtomicUsize::new(0), ledger, decisions })
    }

    fn producer(client: &Client, id: &str) -> Result<BaseProducer<Deliveries>, Error> {
        let timeout = millis(TRANSACTION);
        let producer = client.producer(&[
            ("transactional.id", id),
            ("transaction.timeout.ms", &timeout),
            ("message.timeout.ms", &timeout),
            ("linger.ms", "1"),
        ])?;
        producer.init_transactions(TRANSACTION * 2).map_err(unreachable)?;
        Ok(producer)
    }

    /// Commits. After an error the lane's producers are of no use, and only the topics can tell whether the transaction stands.
    pub(super) fn commit(&self, outputs: &Outputs) -> KafkaResult<()> {
        let deadline = Instant::now() + TRANSACTION * 2;
        let producer = &self.producers[self.begun.fetch_add(1, Ordering::Relaxed) % self.producers.len()];
        producer.begin_transaction()?;
        let to = |topic| BaseRecord::to(topic).partition(i32::from(self.lane.0));
        for body in &outputs.ledger {
            send(producer, to(&self.ledger).payload(body), deadline)?;
        }
        for (key, state) in &outputs.decisions {
            let mut record = to(&self.decisions).key(key);
            record.payload = state.as_deref();
            send(producer, record, deadline)?;
        }
        flush(producer, deadline)?;
        loop {
            match producer.commit_transaction(TRANSACTION) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                done => return done,
            }
        }
    }
}

fn send<'a>(
    producer: &BaseProducer<Deliveries>,
    mut record: BaseRecord<'a, [u8], [u8]>,
    deadline: Instant,
) -> KafkaResult<()> {
    loop {
        match producer.send(record) {
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) if Instant::now() < deadline => {
                producer.poll(BREATH);
                record = again;
            }
            done => return done.map_err(|(error, _)| error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use schemas::config::MeteringConfig;

    use super::*;

    /// Who dies is noticed after a session; then what it left open is ended. Leases last for longer, so calls go on meanwhile.
    #[test]
    fn a_failover_is_over_in_half_the_time_that_leases_last_for() {
        let options = crate::kafka::Options::new(Vec::new(), String::new(), 1, PathBuf::new());
        let failover = options.session + 2 * TRANSACTION;
        assert_eq!(failover, Duration::from_secs(26), "ARCHITECTURE.md says so");
        assert!(2 * failover <= MeteringConfig::default().outage_budget);
    }
}
