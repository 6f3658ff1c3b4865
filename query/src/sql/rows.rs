//! The rows of an answer on their way from the threads of their query to whoever asked, a piece at a time.
//!
//! Nothing runs ahead: one piece waits to be taken while the next is made, and whoever drops the rows ends the query. A query may
//! work so long and no longer; the time in which a piece waits is not counted, but bounded by [`PATIENCE`], so that a client that
//! fell silent does not keep a place from others. Each piece is given only while the access by which it was asked for stands.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{AsOf, Caller, QueryError};

/// How long a piece of an answer waits to be taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes pieces of an answer of its rows.
pub(crate) trait Write: Send + 'static {
    /// A piece.
    type Piece: Send + 'static;

    /// Some rows.
    fn rows(&mut self, batch: &RecordBatch) -> Result<Self::Piece, QueryError>;

    /// What comes after the last row, if anything.
    fn end(&mut self) -> Result<Option<Self::Piece>, QueryError>;
}

/// What is known of an answer before its first row.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// How complete it is.
    pub(crate) as_of: AsOf,
}

/// The pieces of an answer.
pub(crate) struct Rows<T> {
    pieces: mpsc::Receiver<Result<Option<T>, QueryError>>,
    watched: Watched,
    caller: Caller,
    _ends: DropGuard,
}

/// Where a query gives its answer to.
pub(crate) struct Giving<T> {
    head: oneshot::Sender<Result<Head, QueryError>>,
    pieces: Pieces<T>,
    tally: Tally,
}

/// Counts a query when it has ended, however it does.
struct Tally {
    begun: Instant,
    outcome: Option<&'static str>,
    why: Arc<OnceLock<QueryError>>,
}

impl Drop for Tally {
    fn drop(&mut self) {
        let why = self.why.get().map(|why| why.code().code());
        count(why.or(self.outcome).unwrap_or("left"));
        metrics::histogram!("tollgate_query_seconds").record(self.begun.elapsed());
    }
}

/// Counts a query that has ended so.
pub(super) fn count(outcome: &'static str) {
    metrics::counter!("tollgate_queries_total", "outcome" => outcome).increment(1);
}

/// Where its pieces go.
struct Pieces<T> {
    to: mpsc::Sender<Result<Option<T>, QueryError>>,
    phase: watch::Sender<Phase>,
}

/// Until when a query may work, or a piece of it may wait.
#[derive(Clone, Copy)]
struct Phase {
    until: Instant,
    waits: bool,
}

/// What ends a query.
#[derive(Clone)]
struct Watched {
    gone: CancellationToken,
    why: Arc<OnceLock<QueryError>>,
}

impl Watched {
    /// Why a query was ended, if it was, before what it says of that itself.
    fn before(&self, error: QueryError) -> QueryError {
        self.why.get().cloned().unwrap_or(error)
    }

    /// Why a query that says nothing more has ended.
    fn ended(&self) -> QueryError {
        self.why.get().cloned().unwrap_or_else(|| {
            tracing::error!("a query ended in a panic");
            QueryError::Internal
        })
    }
}

/// What comes before the first row, as soon as it is known, and the rows after it.
pub(crate) struct Asked<T> {
    head: oneshot::Receiver<Result<Head, QueryError>>,
    /// The rows.
    pub(crate) rows: Rows<T>,
}

/// A way for the answer of a query that may work for `time`, to who asks it, and the token that ends the query.
pub(crate) fn channel<T: Send + 'static>(time: Duration, caller: Caller) -> (Giving<T>, CancellationToken, Asked<T>) {
    let (head, asked) = oneshot::channel();
    let (pieces, taken) = mpsc::channel(1);
    let (phase, watching) = watch::channel(Phase { until: Instant::now() + time, waits: false });
    let gone = CancellationToken::new();
    let watched = Watched { gone: gone.clone(), why: Arc::default() };
    tokio::spawn(watch(watching, watched.clone(), time));
    let tally = Tally { begun: Instant::now(), outcome: None, why: Arc::clone(&watched.why) };
    let giving = Giving { head, pieces: Pieces { to: pieces, phase }, tally };
    let rows = Rows { pieces: taken, watched, caller, _ends: gone.clone().drop_guard() };
    (giving, gone, Asked { head: asked, rows })
}

/// Ends a query that works, or waits, for too long.
async fn watch(mut phase: watch::Receiver<Phase>, watched: Watched, time: Duration) {
    loop {
        let Phase { until, waits } = *phase.borrow_and_update();
        tokio::select! {
            () = watched.gone.cancelled() => return,
            changed = phase.changed() => if changed.is_err() { return },
            () = sleep_until(until) => {
                let why = if waits { QueryError::NotTaken(PATIENCE.as_secs()) } else { QueryError::Timeout(time) };
                // It may have been ended before, and says why.
                let _ = watched.why.set(why);
                watched.gone.cancel();
                return;
            }
        }
    }
}

impl<T> Asked<T> {
    /// Waits until the query is planned and has begun, or cannot.
    pub(crate) async fn begun(mut self) -> Result<(Head, Rows<T>), QueryError> {
        let head = tokio::select! {
            biased;
            head = &mut self.head => head.unwrap_or_else(|_| Err(self.rows.watched.ended())),
            () = self.rows.watched.gone.cancelled() => Err(self.rows.watched.ended()),
        };
        Ok((head.map_err(|error| self.rows.watched.before(error))?, self.rows))
    }
}

impl<T> Rows<T> {
    /// The next piece; nothing after the last. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, QueryError> {
        let piece = tokio::select! {
            biased;
            piece = self.pieces.recv() => piece.unwrap_or_else(|| Err(self.watched.ended())),
            () = self.watched.gone.cancelled() => Err(self.watched.ended()),
        };
        self.stand()?;
        piece.map_err(|error| self.watched.before(error))
    }

    /// Ends the query of whoever may no longer read what they asked for. What was taken before and is not shown yet asks this first.
    pub(crate) fn stand(&mut self) -> Result<(), QueryError> {
        if self.caller.stands() {
            return Ok(());
        }
        // It may have been ended before, for another reason.
        let _ = self.watched.why.set(QueryError::Revoked);
        self.watched.gone.cancel();
        Err(QueryError::Revoked)
    }
}

fn outcome<T>(piece: &Result<T, QueryError>) -> &'static str {
    piece.as_ref().map_or_else(|error| error.code().code(), |_| "ok")
}

impl<T> Pieces<T> {
    /// Gives a piece, or the end, and waits until there is room for the next; whether anybody still takes them.
    async fn give(&self, piece: Result<Option<T>, QueryError>) -> bool {
        let begun = Instant::now();
        let left = self.phase.borrow().until.saturating_duration_since(begun);
        self.phase.send_replace(Phase { until: begun + PATIENCE, waits: true });
        let goes_on = piece.is_ok();
        let taken = self.to.send(piece).await.is_ok();
        self.phase.send_replace(Phase { until: Instant::now() + left, waits: false });
        taken && goes_on
    }
}

impl<T> Giving<T> {
    /// Gives the one piece of an answer that has no rows.
    pub(crate) async fn one(mut self, piece: Result<T, QueryError>) {
        self.tally.outcome = Some(outcome(&piece));
        self.pieces.give(piece.map(Some)).await;
    }

    /// Gives what was begun to its end, or why it could not be. What cannot be given nobody waits for any more.
    pub(crate) async fn all<W: Write<Piece = T>>(
        mut self,
        begun: Result<(SendableRecordBatchStream, W, Head), QueryError>,
    ) {
        let (mut rows, mut writer, head) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.tally.outcome = Some(error.code().code());
                return drop(self.head.send(Err(error)));
            }
        };
        drop(self.head.send(Ok(head)));
        while let Some(batch) = rows.next().await {
            let piece = batch.map_err(QueryError::from).and_then(|batch| writer.rows(&batch));
            let failed = piece.as_ref().err().map(|error| error.code().code());
            self.tally.outcome = failed;
            if !self.pieces.give(piece.map(Some)).await {
                return;
            }
        }
        let last = writer.end();
        self.tally.outcome = Some(outcome(&last));
        if matches!(last, Ok(None)) || self.pieces.give(last).await {
            self.pieces.give(Ok(None)).await;
        }
    }
}
