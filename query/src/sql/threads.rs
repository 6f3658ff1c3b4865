//! Each query on threads of its own, with stacks of a known size.
//!
//! A query that computes for long without a pause keeps only its own threads: others go on, and whoever waits for it can
//! give up. Its runtime is bounded by the number of queries at a time, which the caller's `turn` stands for: it is given
//! back when the last of the query's threads has ended, not when the answer is there.
//!
//! They come after whatever else a core has to do ([`Rank::Query`]).

use std::{io, thread};

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::QueryError;
use crate::rank::Rank;

/// The stack of each thread. Measured in a debug build: the deepest statement that is parsed takes less than half of it.
/// The operating system gives what is touched.
const STACK_BYTES: usize = 64 << 20;

/// Runs `work` on `workers` threads. It ends when `gone` is cancelled: at its next pause, or where it looks at the token.
pub(crate) fn spawn<W, F>(
    workers: usize,
    turn: impl Send + 'static,
    gone: CancellationToken,
    work: W,
) -> Result<(), QueryError>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let runtime = runtime(workers).map_err(|error| no_thread(&error))?;
    let main = move || {
        Rank::Query.take();
        runtime.block_on(gone.run_until_cancelled(work()));
        // Waits for the other threads of the query.
        drop(runtime);
        drop(turn);
    };
    let thread = thread::Builder::new().name("query".into()).stack_size(STACK_BYTES).spawn(main);
    thread.map(|_| ()).map_err(|error| no_thread(&error))
}

fn runtime(workers: usize) -> io::Result<Runtime> {
    let mut builder = match workers {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let builder = builder.worker_threads(workers.max(1)).thread_stack_size(STACK_BYTES).thread_name("query");
    builder.on_thread_start(|| Rank::Query.take()).enable_all().build()
}

fn no_thread(error: &io::Error) -> QueryError {
    tracing::error!(%error, "no thread can be had for a query");
    QueryError::Busy
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn all_threads_of_a_query_come_after_others() {
        let mine = || rustix::process::getpriority_process(None).unwrap();
        let wanted = (mine() + 10).min(19);
        let (said, heard) = mpsc::channel();
        let work = move || async move {
            let worker = tokio::spawn(async move { mine() }).await.unwrap();
            let beside = tokio::task::spawn_blocking(mine).await.unwrap();
            said.send([mine(), worker, beside]).unwrap();
        };
        spawn(2, (), CancellationToken::new(), work).unwrap();
        assert_eq!(heard.recv().unwrap(), [wanted; 3]);
    }
}
