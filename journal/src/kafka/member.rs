//! Metering's side of the log on Kafka: a member of the group that shares the lanes, and the only writer of those it has.
//!
//! The group says who should have a lane; the transactional producer of the lane says who has it. A lane is taken in this
//! order: assigned by the group, earlier producers fenced, `decisions` read to its end, resumed where that state says.
//! A commit that failed in any way loses the lane, since nobody knows what stands; the member joins anew and reads it back,
//! as it does when its consumer has lost the cluster.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Message as _},
    types::RDKafkaRespErr,
};
use schemas::{
    id::{Lane, Offset},
    topics::Topic,
};

use super::{
    client::{self, ANSWER, BREATH, Client, Polled as Read, millis, place, unreachable},
    follower::KafkaFollower,
    headers,
    lane::LaneProducer,
    lost::Watch,
    voice::Voice,
};
use crate::{Follower as _, Member, Outputs, Polled, Record, error::Error, segment::held};

/// The most that one poll gives, about.
const MOST_BYTES: usize = 4 << 20;

/// How long reading the state of lanes may take before it is begun again.
const RESTORE: Duration = Duration::from_secs(60);

pub(super) struct KafkaMember {
    client: Arc<Client>,
    consumer: BaseConsumer<Group>,
    watch: Watch,
    topic: String,
    /// The lanes that are ours and restored.
    lanes: BTreeMap<Lane, Owned>,
    /// The lanes that the group gave us and that are to be restored.
    given: BTreeSet<Lane>,
    /// What is to be told next.
    told: VecDeque<Polled>,
    /// The lane that gave records last: the others come first.
    last: Lane,
    rejoin: bool,
}

struct Owned {
    producer: LaneProducer,
    input: Vec<Record>,
}

/// What the group decided, in order.
#[derive(Debug)]
enum Decided {
    Given(Vec<Lane>),
    Taken(Vec<Lane>),
}

/// The member's callbacks; they run within its polls.
#[derive(Debug)]
struct Group {
    voice: Voice,
    decided: Mutex<Vec<Decided>>,
}

impl KafkaMember {
    pub(super) fn join(client: &Arc<Client>) -> Result<Self, Error> {
        let mut config = client.reading("metering");
        let options = client.options();
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(options.session))
            .set("heartbeat.interval.ms", millis(options.session / 6))
            .set("max.poll.interval.ms", millis(options.stall))
            // A lane that lost its beginning to time goes on at what there is; `resume` has said so.
            .set("auto.offset.reset", "earliest");
        let group = Group { voice: client.voice(), decided: Mutex::default() };
        let consumer: BaseConsumer<Group> = config.create_with_context(group).map_err(unreachable)?;
        let topic = client.topic(Topic::Usage);
        consumer.subscribe(&[&topic]).map_err(unreachable)?;
        Ok(Self {
            client: Arc::clone(client),
            consumer,
            watch: client.watch(),
            topic,
            lanes: BTreeMap::new(),
            given: BTreeSet::new(),
            told: VecDeque::new(),
            last: Lane(0),
            rejoin: false,
        })
    }

    /// Leaves the group and joins it as a new member, which has no lane until the group gives it one.
    fn join_again(&mut self) -> Result<(), Error> {
        self.consumer.unsubscribe();
        let told = std::mem::take(&mut self.lanes).into_keys().map(Polled::Revoked).collect();
        *self = Self { told, ..Self::join(&self.client)? };
        Ok(())
    }

    /// Reads what there is into the lanes it is of; waits until there is something, or the group has decided something.
    fn read(&mut self, wait: Duration) -> Result<(), Error> {
        let Self { client, consumer, watch, lanes, rejoin, .. } = self;
        let deadline = Instant::now() + wait;
        let mut heard = false;
        let mut bytes: usize = lanes.values().flat_map(|owned| &owned.input).map(|record| record.body.len()).sum();
        loop {
            let rest = if bytes == 0 { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            heard |= client.drain(consumer, rest.min(BREATH), |read| {
                if let Read::Message(message) = read
                    && let Some(owned) = lanes.get_mut(&client::lane(message.partition()))
                    && let Some(record) = record(message)
                {
                    bytes += record.body.len();
                    owned.input.push(record);
                }
                bytes >= MOST_BYTES
            })?;
            let decided = !held(&consumer.context().decided).is_empty();
            heard |= decided;
            if bytes > 0 || rest <= BREATH || decided {
                break;
            }
        }
        *rejoin |= client.has_lost(consumer.client(), Topic::Usage, watch, heard);
        Ok(())
    }

    /// Does what the group decided since the last time.
    fn obey(&mut self) {
        let decided = std::mem::take(&mut *held(&self.consumer.context().decided));
        for decided in decided {
            match decided {
                Decided::Given(lanes) => self.given.extend(lanes),
                Decided::Taken(lanes) => {
                    for lane in lanes {
                        self.given.remove(&lane);
                        if self.lanes.remove(&lane).is_some() {
                            self.told.push_back(Polled::Revoked(lane));
                        }
                    }
                }
            }
        }
    }

    /// Takes over the lanes that the group gave us, and reads their state.
    fn restore(&mut self) -> Result<(), Error> {
        let producers = self.take_over()?;
        let mut follower = KafkaFollower::of(&self.client, self.given.clone())?;
        let mut states: BTreeMap<Lane, BTreeMap<Bytes, Bytes>> = BTreeMap::new();
        let deadline = Instant::now() + RESTORE;
        while !follower.caught_up() {
            if Instant::now() > deadline {
                return Err(Error::Unreachable("the state of a lane cannot be read".into()));
            }
            for change in follower.poll(ANSWER)? {
                let state = states.entry(change.lane).or_default();
                match change.state {
                    Some(body) => state.insert(change.key, body),
                    None => state.remove(&change.key),
                };
            }
        }
        for (lane, producer) in producers {
            self.given.remove(&lane);
            self.lanes.insert(lane, Owned { producer, input: Vec::new() });
            let state = states.remove(&lane).unwrap_or_default().into_iter().collect();
            self.told.push_back(Polled::Assigned(lane, state));
        }
        Ok(())
    }

    /// Fences all earlier producers of the given lanes, at once: each costs some round trips.
    fn take_over(&self) -> Result<Vec<(Lane, LaneProducer)>, Error> {
        let client = &self.client;
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .given
                .iter()
                .map(|lane| {
                    scope.spawn(move || LaneProducer::take_over(client, *lane).map(|producer| (*lane, producer)))
                })
                .collect();
            let broken = || Err(Error::Misused("a thread that takes a lane over broke"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| broken())).collect()
        })
    }

    /// The records of one lane, each in its turn.
    fn records(&mut self) -> Option<Polled> {
        let later = self.lanes.iter().filter(|(lane, owned)| **lane > self.last && !owned.input.is_empty());
        let any = self.lanes.iter().filter(|(_, owned)| !owned.input.is_empty());
        let lane = *later.chain(any).next()?.0;
        self.last = lane;
        let owned = self.lanes.get_mut(&lane)?;
        Some(Polled::Records(lane, std::mem::take(&mut owned.input)))
    }

    /// Reads on from where the state wants it, or from the first record kept.
    fn read_from(&self, lane: Lane, from: Offset) -> Result<(), Error> {
        let (first, end) = self.client.bounds(&self.consumer, Topic::Usage, lane)?;
        let to = if from < first || from > end { first } else { from };
        if to != from {
            // What is missing was confirmed, or its outbox still has it and sends it again; of what lanes passed to this one it is seen.
            tracing::error!(
                lane = lane.0,
                from = from.0,
                first = first.0,
                end = end.0,
                "usage is not kept from where the state wants it"
            );
        }
        self.seek(lane, to)
    }

    fn seek(&self, lane: Lane, to: Offset) -> Result<(), Error> {
        let deadline = Instant::now() + ANSWER;
        let partition = i32::from(lane.0);
        // The assignment is carried out in the background; before that there is nothing to seek in.
        while let Err(error) = self.consumer.seek(&self.topic, partition, place(to), ANSWER) {
            if Instant::now() > deadline {
                return Err(unreachable(error));
            }
            thread::sleep(BREATH);
        }
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(&self.topic, partition);
        self.consumer.resume(&partitions).map_err(unreachable)
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, wait: Duration) -> Result<Polled, Error> {
        if self.client.is_closed() {
            return Err(Error::Closed);
        }
        if let Some(told) = self.told.pop_front() {
            return Ok(told);
        }
        if self.rejoin {
            self.join_again()?;
        }
        self.read(wait)?;
        self.obey();
        if self.told.is_empty() && !self.given.is_empty() {
            // A cluster that is away now may be back at the next poll; the lanes wait.
            if let Err(error) = self.restore() {
                tracing::warn!(%error, lanes = self.given.len(), "lanes cannot be taken over yet");
                return Ok(Polled::Idle);
            }
        }
        if let Some(told) = self.told.pop_front() {
            return Ok(told);
        }
        Ok(self.records().unwrap_or(Polled::Idle))
    }

    fn resume(&mut self, lane: Lane, from: Offset) -> Result<(), Error> {
        if !self.lanes.contains_key(&lane) {
            return Err(Error::Fenced(lane));
        }
        if let Err(error) = self.read_from(lane, from) {
            tracing::warn!(lane = lane.0, %error, "a lane cannot be read yet; the member joins anew");
            self.rejoin = true;
        }
        Ok(())
    }

    fn commit(&mut self, lane: Lane, outputs: &Outputs) -> Result<(), Error> {
        self.commit_each(&[(lane, outputs.clone())]).pop().map_or(Err(Error::Fenced(lane)), |(_, committed)| committed)
    }

    /// A transaction is mostly waiting for the cluster, so each lane's has a thread.
    fn commit_each(&mut self, outputs: &[(Lane, Outputs)]) -> Vec<(Lane, Result<(), Error>)> {
        let lanes = &self.lanes;
        let committed: Vec<(Lane, bool)> = thread::scope(|scope| {
            let begun: Vec<_> = outputs
                .iter()
                .map(|(lane, outputs)| {
                    (*lane, scope.spawn(move || lanes.get(lane).is_some_and(|owned| owned.commit(*lane, outputs))))
                })
                .collect();
            begun.into_iter().map(|(lane, thread)| (lane, thread.join().unwrap_or(false))).collect()
        });
        let lost = committed.iter().filter(|(_, stands)| !stands);
        for (lane, _) in lost {
            // One that was not ours any more needs no new start.
            self.rejoin |= self.lanes.remove(lane).is_some();
        }
        committed
            .into_iter()
            .map(|(lane, stands)| (lane, if stands { Ok(()) } else { Err(Error::Fenced(lane)) }))
            .collect()
    }
}

impl Owned {
    /// Whether the transaction stands. Where that is not known it is read back.
    fn commit(&self, lane: Lane, outputs: &Outputs) -> bool {
        let committed = self.producer.commit(outputs);
        if let Err(error) = &committed {
            tracing::warn!(lane = lane.0, %error, "a transaction failed; the lane is read back");
        }
        committed.is_ok()
    }
}

/// A record of `usage`; nothing if no gateway wrote it.
fn record(message: &BorrowedMessage<'_>) -> Option<Record> {
    let (lane, offset) = (client::lane(message.partition()), client::offset(message.offset()));
    let Some(header) = headers::read(message) else {
        tracing::error!(
            lane = lane.0,
            offset = offset.0,
            "a record of usage does not say who wrote it; it is left out"
        );
        return None;
    };
    Some(Record { lane, offset, header, body: Bytes::copy_from_slice(message.payload().unwrap_or_default()) })
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.voice.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let lanes = partitions.elements().iter().map(|element| client::lane(element.partition())).collect();
        let (done, decided) = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Nothing is read before `resume` says from where.
            let paused = partitions
                .set_all_offsets(rdkafka::Offset::Offset(0))
                .and_then(|()| consumer.incremental_assign(partitions))
                .and_then(|()| consumer.pause(partitions));
            (paused, Decided::Given(lanes))
        } else {
            (consumer.incremental_unassign(partitions), Decided::Taken(lanes))
        };
        if let Err(error) = done {
            tracing::warn!(%error, "what the group decided cannot be done");
        }
        held(&self.decided).push(decided);
    }
}
