//! Why a question is not answered, in words that say nothing about rows that the caller may not see.
//!
//! What the engine says about a statement, or about a value above the fence, goes out as it is. What it says about files,
//! memory or itself is logged and goes out as a fixed text.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use schemas::error_code::ErrorCode;

/// A question that is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It asks for what no caller may do.
    #[error("{0}")]
    Refused(String),
    /// It is not valid SQL over the caller's tables, or fails on one of the caller's own values.
    #[error("{0}")]
    Invalid(String),
    /// Its answer is longer than an answer may be.
    #[error("{0}")]
    TooLarge(String),
    /// It needs more memory or temporary space than a query may use.
    #[error(
        "the query needs more memory or temporary space than there is for it; ask for fewer rows, columns or groups"
    )]
    Memory,
    /// Other queries take all places.
    #[error("too many queries are running, of this token or of all; try again in a moment")]
    Busy,
    /// It ran out of time.
    #[error("the query took longer than {0:?}; ask for less time or fewer columns")]
    Timeout(Duration),
    /// Nobody took its rows.
    #[error("no rows were taken for {0} s, so the query was ended; ask again, for what can be taken")]
    NotTaken(u64),
    /// The access by which it was asked was taken away, or narrowed.
    #[error("the token may no longer read what was asked for, so the answer ends here")]
    Revoked,
    /// The files of the lake cannot be read now.
    #[error("the lake cannot be read at the moment; the server's log says why")]
    Lake,
    /// A fault of ours.
    #[error("the query failed inside the server; its log says why")]
    Internal,
}

impl QueryError {
    /// The code that goes with it.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(_) => ErrorCode::QueryRefused,
            Self::Invalid(_) => ErrorCode::SqlError,
            Self::TooLarge(_) => ErrorCode::ResultTooLarge,
            Self::Memory | Self::Busy => ErrorCode::QueryResources,
            Self::Timeout(_) | Self::NotTaken(_) => ErrorCode::QueryTimeout,
            Self::Revoked => ErrorCode::UnknownToken,
            Self::Lake => ErrorCode::LakeUnreachable,
            Self::Internal => ErrorCode::QueryFailed,
        }
    }
}

/// A refusal as the engine carries it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// Refuses from within the engine.
pub(crate) fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(DataFusionError::External(Box::new(Refusal(why.into()))))
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        let text = error.to_string();
        // The engine hands on in several wrappings what is wrong with the caller's regular expression.
        if ["regex parse error", "Compiled regex exceeds", "CompiledTooBig"].iter().any(|part| text.contains(part)) {
            return Self::Invalid("the regular expression is not valid, or too large".into());
        }
        match error.find_root() {
            DataFusionError::External(inner) => match inner.downcast_ref::<Refusal>() {
                Some(refusal) => Self::Refused(refusal.0.clone()),
                None => internal(&error),
            },
            DataFusionError::ResourcesExhausted(why) => {
                tracing::info!(why, "a query needs more than it may use");
                Self::Memory
            }
            // What a query writes is temporary.
            DataFusionError::IoError(io) if is_full(io) => no_space(),
            DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
                lake(&error)
            }
            DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
                ArrowError::IoError(_, io) if is_full(io) => no_space(),
                ArrowError::ParquetError(_) | ArrowError::IoError(..) | ArrowError::IpcError(_) => lake(&error),
                ArrowError::ExternalError(_) | ArrowError::MemoryError(_) => internal(&error),
                spoken => Self::Invalid(spoken.to_string()),
            },
            DataFusionError::SQL(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::Execution(_) => Self::Invalid(said(error.find_root())),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(DataFusionError::Plan(_) | DataFusionError::SchemaError(..)) => {
                    Self::Invalid(errors.iter().map(said).collect::<Vec<_>>().join("; "))
                }
                _ => internal(&error),
            },
            _ => internal(&error),
        }
    }
}

/// What the engine says in words of its own, and what it means for who asked.
const MEANT: &[(&str, &str)] = &[(
    "Correlated scalar subquery must be aggregated",
    "a query within another that names columns of that, and stands for a value, gives one row by an aggregate: write max(x) in the place of x",
)];

/// What the engine says, without its guess at what was meant, which is another one each time, and without its belief that what it does not
/// know is a bug of its own.
fn said(error: &DataFusionError) -> String {
    let text = error.strip_backtrace().replace("Internal error: ", "");
    if let Some((_, meant)) = MEANT.iter().find(|(part, _)| text.contains(part)) {
        return (*meant).to_owned();
    }
    let ends = ["Did you mean ", "This issue was likely caused by a bug in DataFusion"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).trim_end().to_owned()
}

/// Whether there is no room for what a query writes: on the disk, or within what all queries may write, which the engine only says in words.
fn is_full(io: &std::io::Error) -> bool {
    io.kind() == std::io::ErrorKind::StorageFull || io.to_string().contains("exceeded the allowable limit")
}

fn no_space() -> QueryError {
    tracing::warn!("a query found no temporary space");
    QueryError::Memory
}

impl From<crate::error::Error> for QueryError {
    fn from(error: crate::error::Error) -> Self {
        lake(&error)
    }
}

fn lake(error: &impl std::error::Error) -> QueryError {
    tracing::error!(%error, "the lake could not be read");
    QueryError::Lake
}

fn internal(error: &DataFusionError) -> QueryError {
    tracing::error!(%error, "a query failed inside the engine");
    QueryError::Internal
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn spilling_beyond_what_there_is_is_no_fault_of_the_lake() {
        let full = || {
            io::Error::other(
                "The used disk space during the spilling process has exceeded the allowable limit of 4.0 GB.",
            )
        };
        let written = ArrowError::IoError(full().to_string(), full());
        assert_eq!(QueryError::from(DataFusionError::from(written)), QueryError::Memory);
        assert_eq!(QueryError::from(DataFusionError::IoError(full())), QueryError::Memory);
        assert_eq!(QueryError::from(DataFusionError::IoError(io::Error::other("gone"))), QueryError::Lake);
    }

    #[test]
    fn a_fault_of_ours_is_none_of_the_lake() {
        let error = QueryError::from(DataFusionError::Internal("a key of a window".into()));
        assert_eq!((error.code(), error.code().status()), (ErrorCode::QueryFailed, 500));
        assert_eq!(QueryError::Lake.code(), ErrorCode::LakeUnreachable);
    }

    #[test]
    fn nobody_is_asked_to_report_a_bug_of_the_engine() {
        let inner = "Internal error: Function 'date_trunc' takes 2 arguments.\nThis issue was likely caused by a bug in DataFusion's code. Please …";
        let error = DataFusionError::Plan(inner.into()).into();
        let QueryError::Invalid(text) = error else { panic!("{error:?}") };
        assert_eq!(text, "Error during planning: Function 'date_trunc' takes 2 arguments.");
    }
}
