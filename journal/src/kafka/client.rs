//! What every client of the cluster has in common: its configuration, its errors, and how it reads.
//!
//! librdkafka connects again by itself. So what only says that a broker is away is no error; `lost` tells when it does not.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    client::Client as Native,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
    producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext},
};
use schemas::{
    id::{Lane, Offset},
    topics::Topic,
};

use super::{Options, lost::Watch, voice::Voice};
use crate::{error::Error, segment::held};

/// How long a poll waits at most before it looks whether the road was closed.
const SLICE: Duration = Duration::from_millis(100);

/// How long a cluster that did not answer is left alone.
pub(super) const BREATH: Duration = Duration::from_millis(20);

/// How often a producer is asked whether all is delivered.
const GLANCE: Duration = Duration::from_millis(1);

/// The largest record and batch. Price books are the largest records.
pub(super) const MOST_BYTES: &str = "16777216";

/// How long a question to the cluster may take; no longer than a transaction, as librdkafka wants it. In an outage what was asked on a
/// connection that is dead is over by then, where TCP would be silent for up to as long again as the outage has lasted.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How long a connection may take to be made. TCP asks a host that is away after 1, 3, 7, 15 and 31 s: who tries anew each few seconds
/// finds it a few seconds after it is back.
const CONNECT: Duration = Duration::from_secs(4);

/// How long a client that heard nothing for long is waited for; a cluster that is well answers in some milliseconds.
const PROBE: Duration = Duration::from_secs(2);

/// The cluster, and what is ours in it.
#[derive(Debug)]
pub(crate) struct Client {
    options: Options,
    voice: Voice,
    closed: AtomicBool,
}

impl Client {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), voice: Voice::default(), closed: AtomicBool::new(false) }
    }

    pub(super) fn lanes(&self) -> u16 {
        self.options.lanes
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// The partitions of a topic.
    pub(super) fn partitions(&self, topic: Topic) -> u16 {
        if topic == Topic::Policy { 1 } else { self.options.lanes }
    }

    /// The name of a topic.
    pub(crate) fn topic(&self, topic: Topic) -> String {
        format!("{}.{}", self.options.prefix, topic.name())
    }

    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// The voice of all clients.
    pub(super) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// Begins to watch a client.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.options.silence, Instant::now())
    }

    /// Whether a client that may have heard something since the last time is to be replaced: it has heard nothing for long,
    /// and asked now, it has no answer that lists a broker.
    pub(crate) fn has_lost<C: ClientContext>(
        &self,
        native: &Native<C>,
        topic: Topic,
        watch: &mut Watch,
        heard: bool,
    ) -> bool {
        let ask = watch.look(heard, Instant::now());
        let answers = || native.fetch_metadata(Some(&self.topic(topic)), PROBE);
        let lost = ask && !answers().is_ok_and(|metadata| !metadata.brokers().is_empty());
        if lost {
            tracing::info!(topic = topic.name(), "a client has lost the cluster; another takes its place");
        } else if heard || ask {
            self.voice.heard();
        }
        lost
    }

    /// What all clients are configured with.
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.options.brokers.join(","))
            .set("client.id", "tollgate")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.connection.setup.timeout.ms", millis(CONNECT))
            .set("socket.timeout.ms", millis(ANSWER))
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("message.max.bytes", MOST_BYTES)
            .set("receive.message.max.bytes", "100000000")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// The configuration of a consumer of committed records.
    pub(super) fn reading(&self, group: &str) -> ClientConfig {
        let mut config = self.config();
        config
            .set("group.id", format!("{}-{group}", self.options.prefix))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", "16384");
        config
    }

    /// A producer. Nothing that it was given is dropped before it is told so; `settings` are added to the usual ones.
    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> Result<BaseProducer<Deliveries>, Error> {
        let mut config = self.config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "zstd")
            .set("retry.backoff.ms", "20");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let deliveries = Deliveries { voice: self.voice(), heard: AtomicBool::default(), failure: Mutex::default() };
        config.create_with_context(deliveries).map_err(unreachable)
    }

    /// The first offset kept of a partition, and the one after the last that is committed. Of a topic that was just made, not
    /// every broker knows at once.
    pub(super) fn bounds<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: Topic,
        lane: Lane,
    ) -> Result<(Offset, Offset), Error> {
        let deadline = Instant::now() + ANSWER;
        loop {
            match consumer.fetch_watermarks(&self.topic(topic), i32::from(lane.0), ANSWER) {
                Ok((first, end)) => return Ok((offset(first), offset(end))),
                Err(error) if Instant::now() > deadline || self.is_closed() => return Err(unreachable(error)),
                Err(_) => thread::sleep(BREATH),
            }
        }
    }

    /// Polls for what comes within `wait` and then for what is there, and hands each to `take` until it has enough; says
    /// whether there was any.
    pub(super) fn drain<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        wait: Duration,
        mut take: impl FnMut(Polled<'_, '_>) -> bool,
    ) -> Result<bool, Error> {
        let deadline = Instant::now() + wait;
        let (mut any, mut heard) = (false, false);
        loop {
            if self.is_closed() {
                return if any { Ok(heard) } else { Err(Error::Closed) };
            }
            let rest = if any { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            let enough = match consumer.poll(rest.min(SLICE)) {
                None if rest <= SLICE => return Ok(heard),
                None => false,
                Some(Ok(message)) => {
                    (any, heard) = (true, true);
                    take(Polled::Message(&message))
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = true;
                    take(Polled::End(lane(partition)))
                }
                Some(Err(error)) if is_passing(&error) => {
                    tracing::debug!(%error, "the cluster did not answer; trying again");
                    false
                }
                Some(Err(error)) => return Err(unreachable(error)),
            };
            if enough {
                return Ok(heard);
            }
        }
    }
}

/// What a poll gave.
pub(super) enum Polled<'p, 'm> {
    /// A record.
    Message(&'p BorrowedMessage<'m>),
    /// All that was committed in this partition when it was asked for has been polled.
    End(Lane),
}

/// A time as librdkafka takes it.
pub(super) fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// A place as librdkafka says it.
pub(super) fn place(offset: Offset) -> rdkafka::Offset {
    rdkafka::Offset::Offset(i64::try_from(offset.0).unwrap_or(i64::MAX))
}

/// A place as we say it; librdkafka uses negative ones for "none".
pub(super) fn offset(raw: i64) -> Offset {
    Offset(u64::try_from(raw).unwrap_or(0))
}

/// A partition is a lane. Those that are none of ours are never assigned.
pub(super) fn lane(partition: i32) -> Lane {
    Lane(u16::try_from(partition).unwrap_or(u16::MAX))
}

/// The error of a cluster that does not do what it was asked.
pub(super) fn unreachable(error: KafkaError) -> Error {
    Error::Unreachable(error.to_string())
}

/// Whether an error says only that brokers are away or busy, so that librdkafka goes on by itself.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, CoordinatorLoadInProgress, CoordinatorNotAvailable,
        LeaderNotAvailable, NetworkException, NodeUpdate, NotCoordinator, NotLeaderForPartition, OperationTimedOut,
        PollExceeded, RequestTimedOut, Resolve, UnknownTopicOrPartition, WaitingForCoordinator,
    };
    matches!(
        error,
        KafkaError::MessageConsumption(
            AllBrokersDown
                | BrokerNotAvailable
                | BrokerTransportFailure
                | CoordinatorLoadInProgress
                | CoordinatorNotAvailable
                | LeaderNotAvailable
                | NetworkException
                | NodeUpdate
                | NotCoordinator
                | NotLeaderForPartition
                | OperationTimedOut
                | PollExceeded
                | RequestTimedOut
                | Resolve
                | UnknownTopicOrPartition
                | WaitingForCoordinator
        )
    )
}

/// What a producer was told of its records.
#[derive(Debug)]
pub(crate) struct Deliveries {
    voice: Voice,
    heard: AtomicBool,
    failure: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    /// The first failure since the last call.
    pub(crate) fn failure(&self) -> Option<KafkaError> {
        held(&self.failure).take()
    }

    /// Whether there was any report since the last call.
    pub(crate) fn heard(&self) -> bool {
        self.heard.swap(false, SeqCst)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.voice.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.heard.store(true, SeqCst);
        if let Err((error, _)) = result {
            held(&self.failure).get_or_insert_with(|| error.clone());
        }
    }
}

/// Waits until all is delivered or has failed. librdkafka's own flush looks only every 100 ms.
pub(super) fn flush(producer: &BaseProducer<Deliveries>, deadline: Instant) -> Result<(), KafkaError> {
    while producer.in_flight_count() > 0 {
        if Instant::now() > deadline {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        producer.poll(GLANCE);
    }
    producer.context().failure().map_or(Ok(()), Err)
}
