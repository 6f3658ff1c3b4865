//! What can go wrong between the ledger and a row of an answer.
//!
//! Each error says what failed; those of the store are worth trying again, the others are not.

use schemas::{error_code::ErrorCode, id::Lane};

/// An error of the lake or its tail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake's url is not one.
    #[error("lake.url {url:?} cannot be used: {why}. Give a directory or s3://bucket/prefix")]
    Url {
        /// The url.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store does not refuse to overwrite.
    #[error(
        "the object store ignores If-None-Match, so two writers could lose each other's rows; use a store that has conditional put"
    )]
    NoConditionalPut,
    /// The store failed.
    #[error("the lake's store failed: {0}")]
    Store(#[from] object_store::Error),
    /// The table's log failed or is not what it should be.
    #[error("the lake's table log failed: {0}")]
    Delta(Box<deltalake_core::DeltaTableError>),
    /// A Parquet file could not be written or read.
    #[error("a file of the lake failed: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Rows could not be worked on.
    #[error("rows could not be worked on: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A batch lacks a column that every batch of its table has.
    #[error("the rows do not have the columns of their table")]
    Shape,
    /// A table of the lake was made by another version.
    #[error("table {table} of the lake has other columns than this version writes: {column}")]
    OtherSchema {
        /// The table.
        table: &'static str,
        /// The first column that differs.
        column: String,
    },
    /// Compaction would have changed what the rows add up to.
    #[error("rewriting {table} would change its {what}; nothing was changed")]
    NotEqual {
        /// The table.
        table: &'static str,
        /// What differs.
        what: String,
    },
    /// The ledger cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Log(#[from] journal::Error),
    /// The log is another one than that which the lake is of.
    #[error(
        "at offset {offset} of lane {} of the ledger the log has another record than the lake: it is not the log that this lake is of. \
         Put back the log that belongs to this lake, or give this one a lake of its own (lake.url)", .lane.0
    )]
    OtherLog {
        /// The lane.
        lane: Lane,
        /// The last offset that the lake has of it.
        offset: u64,
    },
    /// A record of the ledger is not an entry.
    #[error("record {offset} of lane {} of the ledger cannot be read: {why}", .lane.0)]
    Record {
        /// Its lane.
        lane: Lane,
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// The code that users see.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Url { .. } | Self::NoConditionalPut | Self::OtherSchema { .. } => ErrorCode::LakeUnusable,
            Self::Log(error) => error.code(),
            Self::OtherLog { .. } => ErrorCode::LogReplaced,
            Self::Record { .. } => ErrorCode::JournalCorrupt,
            Self::Store(_)
            | Self::Delta(_)
            | Self::Parquet(_)
            | Self::Arrow(_)
            | Self::Shape
            | Self::NotEqual { .. } => ErrorCode::LakeUnreachable,
        }
    }
}

impl From<deltalake_core::DeltaTableError> for Error {
    fn from(error: deltalake_core::DeltaTableError) -> Self {
        Self::Delta(Box::new(error))
    }
}
