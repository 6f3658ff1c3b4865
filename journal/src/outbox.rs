//! Ships a gateway's journal to Kafka: in order, everything that is on the platter, until metering has confirmed it.
//!
//! What to send, and when to go back, is [`Shipping`]'s; here it is done. Metering drops what it has.
//!
//! A broker that is away stops nothing but the shipping: what is not sent stands in the journal, whose bound is the only one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::topics::Topic;

use crate::{
    Record,
    error::Error,
    journal::{Journal, JournalReader},
    kafka::{Client, Deliveries, Watch, of_record},
    shipping::Shipping,
};

/// How long the journal is waited for before the lanes are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long a full queue, or a cluster that failed, is waited for at a time.
const BREATH: Duration = Duration::from_millis(50);

/// How long stopping waits for brokers to take the rest. What they do not take is shipped after the next start.
const FAREWELL: Duration = Duration::from_secs(5);

/// What librdkafka holds at most: 32 MiB, 50,000 records, never dropped by time.
const SETTINGS: &[(&str, &str)] = &[
    ("message.timeout.ms", "0"),
    // What comes has waited for its fsync with others; under load a batch fills while another is on its way.
    ("linger.ms", "0"),
    ("queue.buffering.max.kbytes", "32768"),
    ("queue.buffering.max.messages", "50000"),
];

/// The shipping thread of one journal.
#[derive(Debug)]
pub(crate) struct Outbox {
    journal: Arc<Journal>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Outbox {
    pub(crate) fn start(journal: Arc<Journal>, client: Arc<Client>) -> Result<Self, Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        journal.ships();
        let mut shipper = Shipper {
            reader: journal.read_from(journal.first())?,
            producer: client.producer(SETTINGS)?,
            watch: client.watch(),
            topic: client.topic(Topic::Usage),
            journal: Arc::clone(&journal),
            client,
            stopping: Arc::clone(&stopping),
            shipping: Shipping::default(),
        };
        let thread = thread::Builder::new().name("outbox".into()).spawn(move || shipper.run());
        let failed = |source| Error::Io { doing: "start the outbox of", path: journal.dir().to_owned(), source };
        let thread = thread.map_err(failed)?;
        Ok(Self { journal, stopping, thread })
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Closes the journal, and ships the rest of it if the cluster takes it at once.
    pub(crate) fn stop(self) -> Result<(), Error> {
        self.stopping.store(true, SeqCst);
        let closed = self.journal.close();
        let _ = self.thread.join();
        closed
    }
}

struct Shipper {
    journal: Arc<Journal>,
    reader: JournalReader,
    client: Arc<Client>,
    producer: BaseProducer<Deliveries>,
    watch: Watch,
    topic: String,
    stopping: Arc<AtomicBool>,
    shipping: Shipping,
}

impl Shipper {
    fn run(&mut self) {
        let mut looked = Instant::now();
        loop {
            let mut shipped = self.ship();
            if shipped.is_ok() && looked.elapsed() >= LOOK {
                looked = Instant::now();
                shipped = self.look();
            }
            match shipped {
                Ok(()) => {}
                Err(Error::Closed) => break,
                Err(error) => {
                    tracing::warn!(%error, "the outbox starts over");
                    thread::sleep(BREATH);
                    self.start_over();
                }
            }
        }
        if let Err(error) = self.producer.flush(FAREWELL) {
            tracing::warn!(%error, "the cluster did not take all events; they are shipped after the next start");
        }
    }

    /// Sends what has come to the platter.
    fn ship(&mut self) -> Result<(), Error> {
        for record in self.reader.poll(LOOK)? {
            let confirmed = || self.journal.confirmed(record.header.producer, record.lane);
            if self.shipping.wants(&record, confirmed, Instant::now()) {
                self.send(&record)?;
            }
        }
        self.producer.poll(Duration::ZERO);
        self.delivered()
    }

    /// Takes note of what brokers have taken, if all that was read so far is.
    fn delivered(&self) -> Result<(), Error> {
        if let Some(error) = self.producer.context().failure() {
            return Err(Error::Unreachable(error.to_string()));
        }
        if self.producer.in_flight_count() == 0 {
            self.journal.shipped(self.reader.next());
        }
        Ok(())
    }

    fn send(&mut self, record: &Record) -> Result<(), Error> {
        let Self { client, producer, watch, topic, stopping, .. } = self;
        let mut draft: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic)
            .partition(i32::from(record.lane.0))
            .headers(of_record(&record.header, record.lane))
            .payload(&record.body);
        loop {
            match producer.send(draft) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    if stopping.load(SeqCst) {
                        return Err(Error::Closed);
                    }
                    producer.poll(BREATH);
                    in_reach(client, producer, watch)?;
                    draft = again;
                }
                Err((error, _)) => return Err(Error::Unreachable(error.to_string())),
            }
        }
    }

    /// Goes back to what is not confirmed in lanes that do not move although brokers have taken all that was sent.
    fn look(&mut self) -> Result<(), Error> {
        in_reach(&self.client, &self.producer, &mut self.watch)?;
        let away = self.producer.in_flight_count() > 0;
        let confirmed = |producer, lane| self.journal.confirmed(producer, lane);
        if self.shipping.look(away, confirmed, Instant::now()) {
            self.go_back();
        }
        Ok(())
    }

    /// After a failed delivery, or with a producer that gets no answer any more: nobody knows what arrived.
    fn start_over(&mut self) {
        match self.client.producer(SETTINGS) {
            Ok(producer) => self.producer = producer,
            Err(error) => tracing::error!(%error, "there is no new producer"),
        }
        let confirmed = |producer, lane| self.journal.confirmed(producer, lane);
        self.shipping.start_over(confirmed, Instant::now());
        self.go_back();
    }

    fn go_back(&mut self) {
        match self.journal.read_from(self.journal.first()) {
            Ok(reader) => self.reader = reader,
            Err(error) => tracing::error!(%error, "the journal cannot be read again"),
        }
    }
}

/// Fails if nothing will come any more of what the producer has on its way.
fn in_reach(client: &Client, producer: &BaseProducer<Deliveries>, watch: &mut Watch) -> Result<(), Error> {
    let heard = producer.context().heard();
    let waits = heard || producer.in_flight_count() > 0;
    if waits && client.has_lost(producer.client(), Topic::Usage, watch, heard) {
        return Err(Error::Unreachable("no broker has answered for long".into()));
    }
    Ok(())
}
