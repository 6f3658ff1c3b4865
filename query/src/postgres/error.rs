//! Errors as clients of Postgres are told them: a severity, an SQLSTATE, what happened, and where more is said of it.

use schemas::error_code::ErrorCode;

use super::message::Told;
use crate::{entry::NoEntry, sql::QueryError};

/// Something that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Whether it ends the session.
    pub(super) fatal: bool,
    /// The SQLSTATE.
    pub(super) state: &'static str,
    pub(super) message: String,
    pub(super) code: Option<ErrorCode>,
}

impl Wrong {
    /// One that the session goes on after.
    pub(super) fn new(state: &'static str, message: impl Into<String>) -> Self {
        Self { fatal: false, state, message: message.into(), code: None }
    }

    /// One that ends the session.
    pub(super) fn fatal(state: &'static str, message: impl Into<String>) -> Self {
        Self { fatal: true, ..Self::new(state, message) }
    }

    pub(super) fn tell(&self, told: &mut Told) {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let hint = self.code.map(|code| format!("{}: {}", code.code(), code.title())).unwrap_or_default();
        told.error(severity, self.state, &self.message, &hint);
    }
}

impl From<NoEntry> for Wrong {
    fn from(no: NoEntry) -> Self {
        let state = match no {
            NoEntry::Stranger => "28P01",
            NoEntry::NoPolicy | NoEntry::Behind | NoEntry::Closed(_) => "57P03",
        };
        let message = match no {
            NoEntry::Stranger => "the password is no token that the configuration lists under access".to_owned(),
            _ => no.to_string(),
        };
        Self { code: Some(no.code()), ..Self::fatal(state, message) }
    }
}

impl From<QueryError> for Wrong {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        let state = match &error {
            QueryError::Refused(_) => "0A000",
            QueryError::Invalid(_) => invalid(&message),
            QueryError::TooLarge(_) => "54000",
            QueryError::Memory => "53200",
            QueryError::Busy => "53300",
            QueryError::Timeout(_) | QueryError::NotTaken(_) => "57014",
            QueryError::Revoked => "42501",
            QueryError::Lake => "58030",
            QueryError::Internal => "XX000",
        };
        Self { code: Some(error.code()), ..Self::new(state, message) }
    }
}

/// What the engine's words for what is wrong with a statement, or a value of it, stand for.
fn invalid(message: &str) -> &'static str {
    const WORDS: &[(&str, &str)] = &[
        ("sql error: parsererror", "42601"),
        ("sql error: tokenizererror", "42601"),
        ("invalid byte sequence", "22021"),
        ("null character", "54000"),
        ("divide by zero", "22012"),
        ("division by zero", "22012"),
        ("overflow", "22003"),
        ("out of range", "22003"),
        ("cannot cast", "22P02"),
        ("cast error", "22P02"),
        ("parser error", "22P02"),
        ("invalid input", "22P02"),
        ("error parsing", "22007"),
        ("table '", "42P01"),
        ("no field named", "42703"),
        ("invalid function", "42883"),
        ("function '", "42883"),
        ("placeholder", "42P18"),
        ("values came", "08P01"),
        ("must appear in the group by", "42803"),
        ("must be part of group by", "42803"),
        ("ambiguous", "42702"),
    ];
    let message = message.to_lowercase();
    WORDS.iter().find(|(word, _)| message.contains(word)).map_or("42000", |(_, state)| state)
}
