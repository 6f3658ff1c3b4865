//! One lane's transactions: what metering made of its input, whole or not at all.
//!
//! The transactional id is that of the lane, so initialising the producer ends what an earlier owner left open, and nothing
//! that an earlier owner still tries can be committed.

use std::time::{Duration, Instant};

use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::{
    id::{Lane, ProducerId, Seq},
    topics::Topic,
    wire,
};

use super::{
    client::{Client, Deliveries, flush, unreachable},
    headers,
};
use crate::{Header, Outputs, error::Error};

/// After this the broker gives a transaction up. Readers wait for it as long, so it is short.
const TRANSACTION: Duration = Duration::from_secs(10);

/// How long a full queue is waited for at a time.
const BREATH: Duration = Duration::from_millis(10);

pub(super) struct LaneProducer {
    lane: Lane,
    producer: BaseProducer<Deliveries>,
    usage: String,
    ledger: String,
    decisions: String,
}

impl LaneProducer {
    /// Takes the lane over: fences every producer of it that was initialised earlier, and ends their transactions.
    pub(super) fn take_over(client: &Client, lane: Lane) -> Result<Self, Error> {
        let id = format!("{}-metering-{}", client.options().prefix, lane.0);
        let timeout = TRANSACTION.as_millis().to_string();
        let producer = client.producer(&[
            ("transactional.id", &id),
            ("transaction.timeout.ms", &timeout),
            ("message.timeout.ms", &timeout),
            ("linger.ms", "1"),
        ])?;
        producer.init_transactions(TRANSACTION * 2).map_err(unreachable)?;
        let [usage, ledger, decisions] =
            [Topic::Usage, Topic::Ledger, Topic::Decisions].map(|topic| client.topic(topic));
        Ok(Self { lane, producer, usage, ledger, decisions })
    }

    /// Commits. After an error the producer is of no use, and only the topics can tell whether the transaction stands.
    pub(super) fn commit(&self, outputs: &Outputs) -> KafkaResult<()> {
        let deadline = Instant::now() + TRANSACTION * 2;
        self.producer.begin_transaction()?;
        for body in &outputs.ledger {
            self.send(Self::to(&self.ledger, self.lane).payload(body), deadline)?;
        }
        for (key, state) in &outputs.decisions {
            let record = Self::to(&self.decisions, self.lane).key(key);
            self.send(if let Some(state) = state { record.payload(state) } else { record }, deadline)?;
        }
        for (lane, body) in &outputs.passed {
            let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: wire::hash(body) };
            let record = Self::to(&self.usage, *lane).payload(body);
            self.send(record.headers(headers::of_record(&header, *lane)), deadline)?;
        }
        flush(&self.producer, deadline)?;
        loop {
            match self.producer.commit_transaction(TRANSACTION) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                done => return done,
            }
        }
    }

    fn to<'a>(topic: &'a str, lane: Lane) -> BaseRecord<'a, [u8], [u8]> {
        BaseRecord::to(topic).partition(i32::from(lane.0))
    }

    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>, deadline: Instant) -> KafkaResult<()> {
        loop {
            match self.producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if Instant::now() < deadline =>
                {
                    self.producer.poll(BREATH);
                    record = again;
                }
                done => return done.map_err(|(error, _)| error),
            }
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
