//! Reading `ledger` and `policy`: committed records, from given offsets on.
//!
//! Offsets grow but have gaps: the marks that end a transaction take places too, and so do records that were not committed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Message as _};
use schemas::{
    id::{Lane, Offset, ProducerId, Seq},
    time::Time,
    topics::Topic,
    wire::hash,
};

use super::{
    client::{self, Client, Polled, place},
    cursor::Cursor,
};
use crate::{Header, Reader, Record, error::Error};

/// The most that one poll gives, about.
const MOST_BYTES: usize = 1 << 20;

/// How far before its end a partition is first searched for its last committed record.
const LOOK_BACK: u64 = 64;

pub(super) struct KafkaReader {
    client: Arc<Client>,
    cursor: Cursor,
    topic: Topic,
}

impl KafkaReader {
    /// Reads `topic` from these offsets on, by lane; lanes that have none are read from the first.
    pub(super) fn open(client: &Arc<Client>, topic: Topic, from: &[Offset]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(client, topic)?;
        let mut places = BTreeMap::new();
        for lane in (0..client.partitions(topic)).map(Lane) {
            let from = from.get(usize::from(lane.0)).copied().unwrap_or_default();
            let (first, end) = cursor.bounds(lane)?;
            if from < first || from > end {
                return Err(Error::NotKept { topic, lane, asked: from.0, first: first.0, end: end.0 });
            }
            places.insert(lane, place(from));
        }
        cursor.go(places)?;
        Ok(Self { client: Arc::clone(client), cursor, topic })
    }
}

/// By lane, the first offset kept.
pub(super) fn kept(client: &Arc<Client>, topic: Topic) -> Result<Vec<Offset>, Error> {
    let cursor = Cursor::new(client, topic)?;
    (0..client.partitions(topic)).map(|lane| Ok(cursor.bounds(Lane(lane))?.0)).collect()
}

/// Where a reader of the ledger begins that looks for what was written to one lane at a time or later.
pub(super) fn since(client: &Arc<Client>, lane: Lane, time: Time) -> Result<Vec<Offset>, Error> {
    let cursor = Cursor::new(client, Topic::Ledger)?;
    let place = |other: Lane| {
        let (first, end) = cursor.bounds(other)?;
        let from = if other == lane { cursor.at(lane, time)?.unwrap_or(end) } else { end };
        Ok(from.clamp(first, end))
    };
    (0..client.partitions(Topic::Ledger)).map(Lane).map(place).collect()
}

impl Reader for KafkaReader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        self.cursor.drain(wait, |polled| {
            if let Polled::Message(message) = polled {
                let record = record(message);
                bytes += record.body.len();
                records.push(record);
            }
            bytes >= MOST_BYTES
        })?;
        Ok(records)
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        let mut cursor = Cursor::new(&self.client, self.topic)?;
        (0..self.client.partitions(self.topic)).map(|lane| end(&mut cursor, Lane(lane))).collect()
    }
}

/// The offset after the last record of a lane that is committed by now. The end of the partition is not it: a mark mostly stands there.
/// A lane that others write all the time never says that it ends, so a record from beyond that end says it as well.
fn end(cursor: &mut Cursor, lane: Lane) -> Result<Offset, Error> {
    let (first, end) = cursor.bounds(lane)?;
    let mut back = LOOK_BACK;
    loop {
        let from = end.0.saturating_sub(back).max(first.0);
        if from == end.0 {
            return Ok(first);
        }
        cursor.go(BTreeMap::from([(lane, place(Offset(from)))]))?;
        let (mut last, mut done) = (None, false);
        while !done {
            cursor.drain(client::ANSWER, |polled| {
                match polled {
                    Polled::Message(message) => {
                        let offset = client::offset(message.offset());
                        last = if offset < end { Some(offset) } else { last };
                        done = offset.0 + 1 >= end.0;
                    }
                    Polled::End(_) => done = true,
                }
                done
            })?;
        }
        match last {
            Some(last) => return Ok(Offset(last.0 + 1)),
            None if from == first.0 => return Ok(first),
            None => back = back.saturating_mul(8),
        }
    }
}

/// A record that no gateway wrote.
fn record(message: &BorrowedMessage<'_>) -> Record {
    let body = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    Record {
        lane: client::lane(message.partition()),
        offset: client::offset(message.offset()),
        header: Header { producer: ProducerId::NONE, seq: Seq(0), hash: hash(&body) },
        body,
    }
}
