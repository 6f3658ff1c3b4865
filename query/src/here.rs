//! Answers without a service: for commands that read the log and the lake themselves, where no process serves questions.
//!
//! The same tail, cuts, engine and fence as behind every surface. It writes nothing, but makes the tables
//! of a lake that has none yet.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use journal::Road;
use tokio::runtime::{Builder, Runtime};

use crate::{
    config::ShelveConfig,
    cut::Cuts,
    policies::PolicyLog,
    run::{Deps, Opened, RunError, try_open},
    shelve::Shelver,
    sql::{Caller, Engine, QueryError, Question, encode::Format},
    watermark::Watermark,
};

/// Threads for the lake's store; they mostly wait.
const LAKE_THREADS: usize = 2;

/// How often it is looked whether all is read.
const LOOK: Duration = Duration::from_millis(20);

/// How long the ledger or the lake may fail before it is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// What answers.
pub struct Here {
    runtime: Runtime,
    engine: Arc<Engine>,
    shelver: Shelver,
}

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub enum HereError {
    /// Log or lake cannot be opened.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The ledger cannot be read to its end.
    #[error("the ledger cannot be read to its end: {0}")]
    Behind(String),
}

impl Here {
    /// Reads the log that a road leads to over the lake of an address, to the end that it has now.
    pub fn open(road: Arc<dyn Road>, lake_url: &str) -> Result<Self, HereError> {
        let runtime = Builder::new_multi_thread().thread_name("lake").worker_threads(LAKE_THREADS).enable_all().build();
        let runtime = runtime.map_err(RunError::from)?;
        let (policies, watermark) = (Arc::new(PolicyLog::default()), Arc::new(Watermark::default()));
        let config = ShelveConfig::default();
        let deps = Deps { road, lake_url: lake_url.to_owned(), writes: false, doors: None, config };
        let Opened { lake, shelver, .. } = try_open(&deps, &runtime, &policies, &watermark)?;
        let mut well = Instant::now();
        loop {
            let status = shelver.status();
            match status.degraded() {
                _ if status.caught_up => break,
                Some(why) if well.elapsed() > PATIENCE => return Err(HereError::Behind(why.to_owned())),
                Some(_) => {}
                None => well = Instant::now(),
            }
            thread::sleep(LOOK);
        }
        watermark.restored();
        let cuts = Cuts::new(shelver.tail(), lake.store(), watermark, Arc::clone(&policies));
        let cuts = cuts.with_imports(lake.imports().map_err(RunError::from)?);
        let engine = Arc::new(Engine::new(Arc::new(cuts)).map_err(RunError::from)?);
        Ok(Self { runtime, engine, shelver })
    }

    /// Answers one statement with what the caller may see: the whole answer.
    pub fn answer(&self, caller: &Caller, sql: &str, format: Format) -> Result<Vec<u8>, QueryError> {
        self.runtime.block_on(self.engine.answer(caller, sql, format))
    }

    /// The same by rows alone, whatever rollups know of it.
    pub fn answer_by_rows(&self, caller: &Caller, sql: &str, format: Format) -> Result<Vec<u8>, QueryError> {
        let question = Question::plain(sql).rollups(false);
        self.runtime.block_on(self.engine.whole(caller, question, format))
    }

    /// Ends the reading.
    pub fn close(self) -> Result<(), RunError> {
        Ok(self.shelver.stop()?)
    }
}
