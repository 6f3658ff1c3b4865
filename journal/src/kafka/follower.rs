//! Following `decisions`: all that compaction has left, then every commit.
//!
//! A key may come more than once, oldest first, and its removal after it; whoever applies them in order is right at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rdkafka::message::Message as _;
use schemas::{
    id::{Lane, Offset},
    topics::Topic,
};

use super::{
    client::{Client, Polled, lane, offset},
    cursor::Cursor,
};
use crate::{Change, Follower, error::Error};

/// The most that one poll gives, about.
const MOST_BYTES: usize = 1 << 20;

pub(super) struct KafkaFollower {
    cursor: Cursor,
    /// The lanes of which the state has not been read to its end yet.
    behind: BTreeSet<Lane>,
    /// Where they ended at first: who follows them while others write would never come to their end.
    ends: BTreeMap<Lane, Offset>,
}

impl KafkaFollower {
    pub(super) fn open(client: &Arc<Client>) -> Result<Self, Error> {
        let mut follower = Self::of(client, (0..client.lanes()).map(Lane).collect())?;
        let end = |lane: &Lane| follower.cursor.bounds(*lane).map(|(_, end)| (*lane, end));
        follower.ends = follower.behind.iter().map(end).collect::<Result<_, Error>>()?;
        Ok(follower)
    }

    /// Follows these lanes only, which nobody else writes.
    pub(super) fn of(client: &Arc<Client>, lanes: BTreeSet<Lane>) -> Result<Self, Error> {
        let mut cursor = Cursor::new(client, Topic::Decisions)?;
        cursor.go(lanes.iter().map(|lane| (*lane, rdkafka::Offset::Beginning)).collect())?;
        Ok(Self { cursor, behind: lanes, ends: BTreeMap::new() })
    }
}

impl Follower for KafkaFollower {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        let mut bytes = 0;
        let (behind, ends) = (&mut self.behind, &self.ends);
        self.cursor.drain(wait, |polled| match polled {
            Polled::Message(message) => {
                let key = Bytes::copy_from_slice(message.key().unwrap_or_default());
                let state = message.payload().map(Bytes::copy_from_slice);
                bytes += key.len() + state.as_ref().map_or(0, Bytes::len);
                let (lane, next) = (lane(message.partition()), Offset(offset(message.offset()).0 + 1));
                changes.push(Change { lane, key, state });
                if ends.get(&lane).is_some_and(|end| next >= *end) {
                    behind.remove(&lane);
                }
                bytes >= MOST_BYTES
            }
            Polled::End(lane) => behind.remove(&lane) && behind.is_empty(),
        })?;
        Ok(changes)
    }

    fn caught_up(&self) -> bool {
        self.behind.is_empty()
    }
}
