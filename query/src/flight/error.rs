//! Errors as clients of gRPC are told them: a status, and a text that begins with the code that has a page.

use schemas::error_code::ErrorCode;
use tonic::{Code, Status};

use crate::{entry::NoEntry, sql::QueryError};

/// The most bytes of a text: clients take some 8 KiB of heads, in which a byte may become three.
const MAX_TEXT: usize = 2 << 10;

impl From<NoEntry> for Status {
    fn from(no: NoEntry) -> Self {
        match no {
            NoEntry::Stranger => {
                let why =
                    "send a token that the configuration lists under access as the password, or as a bearer token";
                status(Code::Unauthenticated, no.code(), why)
            }
            NoEntry::NoPolicy | NoEntry::Behind | NoEntry::Closed(_) => {
                status(Code::Unavailable, no.code(), &no.to_string())
            }
        }
    }
}

impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let code = match &error {
            QueryError::Refused(_) => Code::Unimplemented,
            QueryError::Invalid(_) => Code::InvalidArgument,
            QueryError::TooLarge(_) | QueryError::Memory | QueryError::Busy => Code::ResourceExhausted,
            QueryError::Timeout(_) | QueryError::NotTaken(_) => Code::DeadlineExceeded,
            QueryError::Revoked => Code::Unauthenticated,
            QueryError::Lake => Code::Unavailable,
            QueryError::Internal => Code::Internal,
        };
        status(code, error.code(), &error.to_string())
    }
}

/// A request that is not what it should be.
pub(super) fn wrong(why: impl Into<String>) -> Status {
    QueryError::Invalid(why.into()).into()
}

/// What was asked for is over, since somebody said so.
pub(super) fn cancelled() -> Status {
    Status::cancelled("the query was cancelled")
}

fn status(code: Code, of: ErrorCode, why: &str) -> Status {
    let mut text = format!("{}: {}: {why}", of.code(), of.title());
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    Status::new(code, text)
}
