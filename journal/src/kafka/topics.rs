//! The four topics: created as they have to be where they are absent, checked where they are there.
//!
//! Replication and the rest of a topic's configuration are the cluster's own: an operator may set them as they like.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode,
};
use schemas::topics::Topic;

use super::{
    client::{ANSWER, Client, MOST_BYTES, unreachable},
    voice::Voice,
};
use crate::error::Error;

const TOPICS: [Topic; 4] = [Topic::Usage, Topic::Ledger, Topic::Decisions, Topic::Policy];

/// What a topic is created with.
fn settings(topic: Topic) -> &'static [(&'static str, &'static str)] {
    match topic {
        // A week: confirmed events are only kept for those who look into what happened.
        Topic::Usage => &[("cleanup.policy", "delete"), ("retention.ms", "604800000")],
        // A quarter of a year; the lake has it for ever.
        Topic::Ledger => &[("cleanup.policy", "delete"), ("retention.ms", "7776000000")],
        // Segments of an hour bound what a restart reads; tombstones stay a day for followers that are away.
        Topic::Decisions => {
            &[("cleanup.policy", "compact"), ("segment.ms", "3600000"), ("min.cleanable.dirty.ratio", "0.1")]
        }
        Topic::Policy => &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")],
    }
}

/// What a setting of a topic that is there has to be.
#[derive(Clone, Copy)]
enum Demand {
    Is(&'static str),
    /// A number, or -1, which is without end.
    AtLeast(&'static str),
}

/// The least time for which events and facts are kept: who reads them may be away for a day.
const A_DAY: &str = "86400000";

/// What a topic that is there must have.
fn demands(topic: Topic) -> [(&'static str, Demand); 4] {
    use Demand::{AtLeast, Is};
    let (cleanup, bytes, retention) = match topic {
        Topic::Usage | Topic::Ledger => (Is("delete"), AtLeast("1"), AtLeast(A_DAY)),
        // What is compacted does not go by age.
        Topic::Decisions => (Is("compact"), AtLeast("1"), AtLeast("0")),
        Topic::Policy => (Is("delete"), Is("-1"), Is("-1")),
    };
    [
        ("max.message.bytes", AtLeast(MOST_BYTES)),
        ("cleanup.policy", cleanup),
        ("retention.bytes", bytes),
        ("retention.ms", retention),
    ]
}

impl Demand {
    fn is_met(self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::AtLeast(least) => {
                let number = |text: &str| text.parse::<i64>().ok();
                number(value).is_some_and(|value| value == -1 || Some(value) >= number(least))
            }
        }
    }
}

impl std::fmt::Display for Demand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(wanted) => write!(f, "{wanted:?}"),
            Self::AtLeast(least) => write!(f, "at least {least}, or -1"),
        }
    }
}

/// Creates and checks the topics; tries again while no broker answers, up to `patience`.
pub(super) fn ensure(client: &Client, patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    loop {
        let admin = client.config().create_with_context(client.voice()).map_err(unreachable);
        match admin.and_then(|admin| create(client, &admin).and_then(|()| check(client, &admin))) {
            Err(Error::Unreachable(why)) if Instant::now() < deadline => {
                tracing::warn!(why, "the cluster does not answer; trying again");
                std::thread::sleep(Duration::from_millis(200));
            }
            done => return done,
        }
    }
}

fn create(client: &Client, admin: &AdminClient<Voice>) -> Result<(), Error> {
    let names = TOPICS.map(|topic| (topic, client.topic(topic)));
    let topics = names.each_ref().map(|(topic, name)| {
        let mut new = NewTopic::new(name, i32::from(client.partitions(*topic)), TopicReplication::Fixed(-1))
            .set("max.message.bytes", MOST_BYTES);
        for (setting, value) in settings(*topic) {
            new = new.set(setting, value);
        }
        new
    });
    let results = block_on(admin.create_topics(&topics, &patience())).map_err(unreachable)?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(Error::Unreachable(format!("{name} cannot be created: {code}"))),
        }
    }
    Ok(())
}

fn check(client: &Client, admin: &AdminClient<Voice>) -> Result<(), Error> {
    let names = TOPICS.map(|topic| client.topic(topic));
    for (topic, name) in TOPICS.iter().zip(&names) {
        let metadata = admin.inner().fetch_metadata(Some(name), ANSWER).map_err(unreachable)?;
        let found = metadata.topics().first().map_or(0, |found| found.partitions().len());
        let lanes = client.partitions(*topic);
        if found == 0 {
            return Err(Error::Unreachable(format!("{name} is not known to all brokers yet")));
        }
        if found != usize::from(lanes) {
            return Err(Error::Lanes { topic: name.clone(), found, lanes });
        }
    }
    let asked = names.each_ref().map(|name| ResourceSpecifier::Topic(name));
    let answers = block_on(admin.describe_configs(&asked, &patience())).map_err(unreachable)?;
    for (topic, answer) in TOPICS.iter().zip(answers) {
        let answer = answer.map_err(|code| Error::Unreachable(code.to_string()))?;
        check_settings(&client.topic(*topic), &demands(*topic), &answer)?;
    }
    Ok(())
}

fn check_settings(name: &str, demands: &[(&str, Demand)], found: &ConfigResource) -> Result<(), Error> {
    for (setting, demand) in demands {
        let value = found.get(setting).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if !demand.is_met(value) {
            let why = format!("{setting} is {value:?} and has to be {demand}");
            return Err(Error::Topic { topic: name.to_owned(), why });
        }
    }
    Ok(())
}

fn patience() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}
