//! What stands beside a record of `usage`: who wrote it, and what CloudEvents says of an event in binary mode.
//!
//! The lane is the partition. A reader of ours needs `producer`, `seq` and `hash` alone; the others are for everybody else.

use rdkafka::message::{BorrowedMessage, Header as Entry, Headers as _, Message as _, OwnedHeaders};
use schemas::id::Lane;

use crate::Header;

const PRODUCER: &str = "producer";
const SEQ: &str = "seq";
const HASH: &str = "hash";

/// The headers of a record.
pub(crate) fn of_record(header: &Header, lane: Lane) -> OwnedHeaders {
    let id = format!("{}-{}-{}", header.producer, lane.0, header.seq.0);
    let source = format!("/tollgate/producers/{}", header.producer);
    OwnedHeaders::new_with_capacity(8)
        .insert(Entry { key: PRODUCER, value: Some(header.producer.as_bytes().as_slice()) })
        .insert(Entry { key: SEQ, value: Some(header.seq.0.to_be_bytes().as_slice()) })
        .insert(Entry { key: HASH, value: Some(header.hash.to_be_bytes().as_slice()) })
        .insert(Entry { key: "content-type", value: Some("application/protobuf") })
        .insert(Entry { key: "ce_specversion", value: Some("1.0") })
        .insert(Entry { key: "ce_id", value: Some(id.as_str()) })
        .insert(Entry { key: "ce_source", value: Some(source.as_str()) })
        .insert(Entry { key: "ce_type", value: Some("tollgate.v1.Event") })
}

/// Who wrote a record; nobody of ours if a header is missing or has another length.
pub(super) fn read(message: &BorrowedMessage<'_>) -> Option<Header> {
    Header::named(message.headers()?.iter().map(|header| (header.key, header.value)))
}
