//! The road on Apache Kafka: lane = partition, exactly once by transactions.
//!
//! ```text
//! <prefix>.usage      outbox → the member of the lane   idempotent producer, acks = all
//! <prefix>.ledger     member → readers                  in the transactions of the lane's producer
//! <prefix>.decisions  member → followers, next member   the same transactions; compacted
//! <prefix>.policy     publish → readers                 one partition, never trimmed
//! <outbox>/           the gateway's journal, which the outbox ships
//! ```
//!
//! What always holds: readers, followers and members see committed records only; a member reads where the state says, not
//! where the group does; each lane has one producer with a stable transactional id, and whoever initialises it last fences
//! all before it. A broker that is away is no error to those that read or ship: they go on when it is back, with new clients
//! (`lost`) if the old ones have forgotten it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use schemas::{
    id::{Lane, Offset},
    time::Time,
    topics::Topic,
};

use crate::{
    Follower, Member, Reader, Road,
    error::Error,
    journal::{self, Journal},
    outbox::Outbox,
    segment::held,
};

mod client;
mod cursor;
mod follower;
mod headers;
mod lane;
mod lost;
mod member;
mod publish;
mod reader;
mod topics;
mod voice;

#[cfg(test)]
mod tests;

pub(crate) use client::{Client, Deliveries};
pub(crate) use headers::of_record;
pub(crate) use lost::Watch;

/// How to reach the cluster, and what is ours in it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// What stands before the names of topics, and a dot.
    pub prefix: String,
    /// How many lanes the topics have.
    pub lanes: u16,
    /// The directory of the gateway's journal; opened by [`Road::journal`] only.
    pub outbox: PathBuf,
    /// How the journal is kept; its lanes are those above.
    pub journal: journal::Options,
    /// How long opening may take.
    pub patience: Duration,
    /// After how long a member that is not heard of loses its lanes.
    pub session: Duration,
    /// After how long a member that does not poll loses its lanes; not less than `session`.
    pub stall: Duration,
    /// After how long a client that hears nothing is asked whether it still knows the cluster.
    pub silence: Duration,
}

impl Options {
    /// The usual way of using this cluster.
    pub fn new(brokers: Vec<String>, prefix: String, lanes: u16, outbox: PathBuf) -> Self {
        Self {
            brokers,
            prefix,
            lanes,
            outbox,
            journal: journal::Options::default(),
            patience: Duration::from_secs(30),
            session: Duration::from_secs(6),
            stall: Duration::from_secs(60),
            silence: lost::SILENCE,
        }
    }
}

/// The road on a Kafka cluster.
pub struct Kafka {
    client: Arc<Client>,
    options: Options,
    outbox: Mutex<Option<Outbox>>,
}

impl Kafka {
    /// Creates the topics that are absent and checks those that are there.
    ///
    /// [`Error::Unreachable`] if no broker answers within `options.patience`; [`Error::Lanes`] and [`Error::Topic`] if a topic
    /// is not as it has to be.
    pub fn open(options: Options) -> Result<Arc<Self>, Error> {
        let client = Arc::new(Client::new(&options));
        topics::ensure(&client, options.patience)?;
        Ok(Arc::new(Self { client, options, outbox: Mutex::default() }))
    }
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Road for Kafka {
    fn lanes(&self) -> u16 {
        self.options.lanes
    }

    fn journal(&self) -> Result<Arc<Journal>, Error> {
        let mut outbox = held(&self.outbox);
        if let Some(outbox) = &*outbox {
            return Ok(Arc::clone(outbox.journal()));
        }
        let options = journal::Options { lanes: self.options.lanes, ..self.options.journal.clone() };
        let journal = Journal::open(&self.options.outbox, &options)?;
        *outbox = Some(Outbox::start(Arc::clone(&journal), Arc::clone(&self.client))?);
        Ok(journal)
    }

    fn member(&self) -> Result<Box<dyn Member>, Error> {
        Ok(Box::new(member::KafkaMember::join(&self.client)?))
    }

    fn kept(&self) -> Result<Vec<Offset>, Error> {
        reader::kept(&self.client, Topic::Ledger)
    }

    fn since(&self, lane: Lane, time: Time) -> Result<Vec<Offset>, Error> {
        reader::since(&self.client, lane, time)
    }

    fn trim(&self, _: &[Offset], _: Time) -> Result<(), Error> {
        Ok(())
    }

    fn reader(&self, topic: Topic, from: &[Offset]) -> Result<Box<dyn Reader>, Error> {
        match topic {
            Topic::Ledger | Topic::Policy => Ok(Box::new(reader::KafkaReader::open(&self.client, topic, from)?)),
            Topic::Usage => Err(Error::Misused("only a member reads usage")),
            Topic::Decisions => Err(Error::Misused("decisions are followed, not read")),
        }
    }

    fn follower(&self) -> Result<Box<dyn Follower>, Error> {
        Ok(Box::new(follower::KafkaFollower::open(&self.client)?))
    }

    fn publish(&self, bodies: &[Bytes]) -> Result<(), Error> {
        publish::publish(&self.client, bodies)
    }

    fn close(&self) -> Result<(), Error> {
        let shipped = held(&self.outbox).take().map_or(Ok(()), Outbox::stop);
        self.client.close();
        shipped
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the outbox was not closed cleanly");
        }
    }
}
