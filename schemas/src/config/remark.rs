//! What is said about a configuration: where, what, and what to do about it.
//!
//! A remark never quotes a secret or the value of an environment variable, since it ends in logs and bug reports.

use std::fmt;

use crate::error_code::ErrorCode;

/// A place in a file; lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A mistake or a warning. It never quotes a secret or the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The file, as the user named it.
    pub file: String,
    /// Where in it.
    pub at: Place,
    /// What kind.
    pub code: ErrorCode,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Something that keeps the configuration from being used.
pub type Mistake = Remark;

/// Something that the user should know; the configuration is used all the same.
pub type Warning = Remark;

impl Remark {
    pub(super) fn new(at: Place, code: ErrorCode, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { file: String::new(), at, code, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Remark {
    /// `file:line:column: TG1004: what; remedy`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, code, what, remedy } = self;
        write!(f, "{file}:{}:{}: {code}: {what}", at.line, at.column)?;
        if remedy.is_empty() { Ok(()) } else { write!(f, "; {remedy}") }
    }
}
