//! Who goes first where there is more to do than there are cores.
//!
//! A gateway in the same process has to answer within microseconds, and a question may take seconds. Linux has a priority for each
//! thread, so the work that nobody waits for by the microsecond steps back: it has all that others leave, and little where they leave
//! nothing. What reads the log on keeps its priority, since answers are as fresh as that is.

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Writes, joins and rolls up files of the lake: before queries, which would else keep it from taking what waits in memory.
    Lake,
    /// Answers.
    Query,
}

impl Rank {
    /// Gives this thread its rank, whatever it has: a thread begins with that of the one that started it. What cannot be had (a priority that
    /// is lower already, another system) stays as it is.
    pub(crate) fn take(self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{getpid, getpriority_process, setpriority_process};

            let step = match self {
                Self::Lake => 5,
                Self::Query => 10,
            };
            // That of the process is the one of its first thread.
            let taken = getpriority_process(Some(getpid())).and_then(|first| setpriority_process(None, first + step));
            if let Err(error) = taken {
                tracing::debug!(%error, "a thread keeps its priority");
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::Rank;

    #[test]
    fn a_rank_is_of_its_thread_alone() {
        let mine = || rustix::process::getpriority_process(None).unwrap();
        let before = mine();
        let taken = thread::spawn(move || {
            Rank::Query.take();
            let own = mine();
            let started = thread::spawn(move || {
                Rank::Query.take();
                mine()
            });
            [own, started.join().unwrap()]
        });
        assert_eq!(taken.join().unwrap(), [(before + 10).min(19); 2]);
        assert_eq!(mine(), before);
    }
}
