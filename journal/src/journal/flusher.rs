//! The thread that puts a journal on the platter, publishes what is there, and lets go of what is confirmed.
//!
//! It is the only one that waits for the disk. It ends when its log is closed or broken.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    error::Error,
    journal::Shared,
    segment::{Due, Log, files},
};

/// The least time between two fsyncs: what a power loss can take. At 5 ms a disk that needs 1 ms for one is a fifth busy.
const EVERY: Duration = Duration::from_millis(5);

/// The same where a caller waits for the answer to what was written.
const SOON: Duration = Duration::from_millis(1);

pub(super) fn start(log: &Arc<Log>, shared: &Arc<Shared>) -> Result<JoinHandle<()>, Error> {
    let dir = log.dir().to_owned();
    let (log, shared) = (Arc::clone(log), Arc::clone(shared));
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run(&log, &shared))
        .map_err(files::io("start the flusher of", &dir))
}

fn run(log: &Log, shared: &Shared) {
    loop {
        match log.wait_due(EVERY, SOON) {
            Due::Never => return,
            Due::Trim => {}
            Due::Sync => match log.sync() {
                Ok(end) => log.publish(end),
                // The log is broken now, and everybody who appends is told.
                Err(_) => return,
            },
        }
        if let Err(error) = log.trim(|facts| shared.done_with(facts)) {
            tracing::warn!(%error, "confirmed records could not be removed");
        }
    }
}
