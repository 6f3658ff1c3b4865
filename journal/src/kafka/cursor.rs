//! A consumer of committed records that belongs to no group and remembers how far it has read.
//!
//! Should it lose the cluster, a new one goes on where it was; whoever drains it does not notice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Message as _,
};
use schemas::{
    id::{Lane, Offset},
    time::Time,
    topics::Topic,
};

use super::{
    client::{self, Client, Polled, place, unreachable},
    lost::Watch,
    voice::Voice,
};
use crate::error::Error;

pub(super) struct Cursor {
    client: Arc<Client>,
    topic: Topic,
    consumer: BaseConsumer<Voice>,
    watch: Watch,
    /// What is to be read next, by lane.
    next: BTreeMap<Lane, rdkafka::Offset>,
}

impl Cursor {
    /// Reads nothing before it is told from where.
    pub(super) fn new(client: &Arc<Client>, topic: Topic) -> Result<Self, Error> {
        let consumer = client.reading("reader").create_with_context(client.voice()).map_err(unreachable)?;
        Ok(Self { client: Arc::clone(client), topic, consumer, watch: client.watch(), next: BTreeMap::new() })
    }

    /// Reads these lanes and no others, each from its place.
    pub(super) fn go(&mut self, next: BTreeMap<Lane, rdkafka::Offset>) -> Result<(), Error> {
        let (name, mut partitions) = (self.client.topic(self.topic), TopicPartitionList::new());
        for (lane, offset) in &next {
            partitions.add_partition_offset(&name, i32::from(lane.0), *offset).map_err(unreachable)?;
        }
        self.next = next;
        self.consumer.assign(&partitions).map_err(unreachable)
    }

    /// The first offset kept of a lane, and the one after the last that is committed.
    pub(super) fn bounds(&self, lane: Lane) -> Result<(Offset, Offset), Error> {
        self.client.bounds(&self.consumer, self.topic, lane)
    }

    /// The first offset of a lane that was written at a time or later; nothing if none was.
    pub(super) fn at(&self, lane: Lane, time: Time) -> Result<Option<Offset>, Error> {
        let (name, mut asked) = (self.client.topic(self.topic), TopicPartitionList::new());
        let millis = rdkafka::Offset::Offset((time.as_micros() / 1_000).max(0));
        asked.add_partition_offset(&name, i32::from(lane.0), millis).map_err(unreachable)?;
        let found = self.consumer.offsets_for_times(asked, client::ANSWER).map_err(unreachable)?;
        Ok(found.elements().first().and_then(|place| match place.offset() {
            rdkafka::Offset::Offset(offset) => Some(client::offset(offset)),
            _ => None,
        }))
    }

    /// That the cluster has let go of what was to be read next; nothing if it has not.
    fn trimmed(&self) -> Option<Error> {
        self.next.iter().find_map(|(lane, next)| {
            let rdkafka::Offset::Offset(next) = next else { return None };
            let (asked, (first, end)) = (client::offset(*next), self.bounds(*lane).ok()?);
            let not_kept =
                Error::NotKept { topic: self.topic, lane: *lane, asked: asked.0, first: first.0, end: end.0 };
            (asked < first).then_some(not_kept)
        })
    }

    /// As [`Client::drain`]; [`Error::NotKept`] where that comes of the cluster's letting go of what is to be read.
    pub(super) fn drain(&mut self, wait: Duration, mut take: impl FnMut(Polled<'_, '_>) -> bool) -> Result<(), Error> {
        let next = &mut self.next;
        let drained = self.client.drain(&self.consumer, wait, |polled| {
            if let Polled::Message(message) = &polled {
                let after = Offset(client::offset(message.offset()).0 + 1);
                next.insert(client::lane(message.partition()), place(after));
            }
            take(polled)
        });
        let heard = drained.map_err(|error| self.trimmed().unwrap_or(error))?;
        if self.client.has_lost(self.consumer.client(), self.topic, &mut self.watch, heard) {
            let next = std::mem::take(&mut self.next);
            *self = Self::new(&self.client, self.topic)?;
            self.go(next)?;
        }
        Ok(())
    }
}
