//! Appending to `policy`.
//!
//! Policy is rare, so each call has a producer of its own: idempotent, all replicas, one partition, in order.

use std::time::Instant;

use bytes::Bytes;
use rdkafka::producer::BaseRecord;
use schemas::topics::Topic;

use super::client::{ANSWER, Client, flush, millis, unreachable};
use crate::error::Error;

/// Appends the bodies, durably.
pub(super) fn publish(client: &Client, bodies: &[Bytes]) -> Result<(), Error> {
    if client.is_closed() {
        return Err(Error::Closed);
    }
    let timeout = millis(ANSWER);
    let producer = client.producer(&[("message.timeout.ms", &timeout)])?;
    let topic = client.topic(Topic::Policy);
    for body in bodies {
        let record = BaseRecord::<(), [u8]>::to(&topic).partition(0).payload(body);
        producer.send(record).map_err(|(error, _)| unreachable(error))?;
    }
    flush(&producer, Instant::now() + ANSWER * 2).map_err(unreachable)
}
