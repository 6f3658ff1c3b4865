//! Each query on threads of its own, with stacks of a known size.
//!
//! A query that computes for long without a pause keeps only its own threads: others go on, and whoever waits for it can
//! give up. Its threads give way to all others, in this process and outside: gateways and the lake writer do not wait for an answer. Its runtime is bounded by the number of queries at a time, which the caller's `turn` stands for: it is given
//! back when the last of the query's threads has ended, not when the answer is there.

use std::{io, thread};

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::QueryError;

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
        give_way();
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
    builder
        .worker_threads(workers.max(1))
        .thread_stack_size(STACK_BYTES)
        .thread_name("query")
        .on_thread_start(give_way);
    builder.enable_all().build()
}

/// What makes the niceness of a thread five: a third of the share of the others where the cores do not do for all, and who wakes up goes
/// first. Less would let a busy machine starve questions.
const PRIORITY: u8 = 35;

/// Lowers the priority of a thread of a query.
fn give_way() {
    let Ok(priority) = ThreadPriorityValue::try_from(PRIORITY) else { return };
    if let Err(error) = set_current_thread_priority(ThreadPriority::Crossplatform(priority)) {
        tracing::debug!(?error, "a thread of a query runs like all others");
    }
}

fn no_thread(error: &io::Error) -> QueryError {
    tracing::error!(%error, "no thread can be had for a query");
    QueryError::Busy
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc, time::Duration};

    use super::*;

    /// The niceness of the thread that asks, of which the 19th field tells.
    fn niceness() -> i32 {
        let told = fs::read_to_string("/proc/thread-self/stat").unwrap();
        told.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn every_thread_of_a_query_gives_way() {
        for workers in [1, 2] {
            let (say, heard) = mpsc::channel();
            let work = move || async move {
                let own = niceness();
                let spawned = tokio::spawn(async { niceness() }).await.unwrap();
                let blocking = tokio::task::spawn_blocking(niceness).await.unwrap();
                say.send([own, spawned, blocking]).unwrap();
            };
            spawn(workers, (), CancellationToken::new(), work).unwrap();
            assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), [5; 3]);
        }
    }
}
