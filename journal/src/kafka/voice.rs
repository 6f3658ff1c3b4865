//! What librdkafka says of itself, said to the operator: the cause of an outage, then that it began and that it is over.
//!
//! Each of dozens of clients complains every second while brokers are away. All of a road's share one voice.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::lost::Outage;
use crate::segment::held;

/// The voice of a client that has nothing else to remember.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voice(Arc<Mutex<Outage>>);

impl Voice {
    /// A broker answered.
    pub(super) fn heard(&self) {
        if held(&self.0).ends(Instant::now()) {
            tracing::warn!("the Kafka brokers are back; everything goes on where it was");
        }
    }
}

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(facility, message, "librdkafka");
            }
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    /// What librdkafka holds to be an error. The end of a partition is none: readers ask to be told of it.
    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, PartitionEOF, Resolve};
        let mut outage = held(&self.0);
        match error.rdkafka_error_code() {
            Some(PartitionEOF) => {}
            Some(AllBrokersDown) if outage.begins(Instant::now()) => {
                tracing::warn!(
                    "no Kafka broker can be reached; what is to be sent waits in the outbox, and nothing is lost. \
                     See that the brokers run, and that log.brokers names them"
                );
            }
            Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve) if outage.is_on() => {
                tracing::debug!(%error, reason, "the cluster still does not answer");
            }
            _ => tracing::warn!(%error, reason, "the cluster did not answer"),
        }
    }
}

impl ConsumerContext for Voice {}
