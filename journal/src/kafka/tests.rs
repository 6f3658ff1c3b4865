//! The suite on Kafka, and what only Kafka promises: lanes that change hands, and owners that come too late.

use std::{sync::Arc, time::Duration};

use schemas::id::ProducerId;
use tempfile::TempDir;

use super::{Kafka, Options};
use crate::{Road, conformance::Ground, journal};

#[path = "../../../tests/support/kafka.rs"]
mod broker;

/// The lanes of the tests: more than one, and few enough for a busy machine.
const LANES: u16 = 3;

/// Topics of their own on the shared broker, and an outbox.
struct Cluster {
    dir: TempDir,
    options: Options,
}

impl Cluster {
    /// Nothing if there is no broker, which has been said then.
    fn new() -> Option<Self> {
        let brokers = vec![broker::shared()?.to_owned()];
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("test-{}", ProducerId::fresh());
        let mut options = Options::new(brokers, prefix, LANES, dir.path().join("outbox"));
        options.patience = Duration::from_secs(60);
        options.journal = journal::Options { segment_bytes: 4096, ..journal::Options::default() };
        Some(Self { dir, options })
    }

    fn kafka(&self) -> Arc<Kafka> {
        Kafka::open(self.options.clone()).unwrap()
    }
}

impl Ground for Cluster {
    fn open(&mut self) -> Arc<dyn Road> {
        self.kafka()
    }
}

mod suite {
    use super::Cluster;

    crate::conformance::suite!(match Cluster::new() {
        Some(cluster) => cluster,
        None => return,
    });
}
