//! How a session of Postgres reads statements: what its clients expect to find beside the tables, what they write that the engine
//! does not know, in which zone days begin, and how times, spans of time and bytes are written.
//!
//! A statement is changed before it is looked at, so that everything that holds of statements holds of what came of it.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use arrow::datatypes::DataType;

pub(crate) mod arrays;
pub(crate) mod bytea;
pub(crate) mod catalog;
mod compared;
mod elements;
mod introspection;
mod names;
pub(crate) mod parameters;
mod paths;
pub(crate) mod rewrite;
pub(crate) mod shown;
pub(crate) mod types;
pub(crate) mod zone;

/// What a session says of itself, and its client of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Its user, as it named itself. Nothing depends on it.
    pub(crate) user: Arc<str>,
    /// Its number.
    pub(crate) pid: u32,
    /// Its settings, as `current_setting` shows them.
    pub(crate) settings: Arc<BTreeMap<&'static str, String>>,
    /// Its zone, if that is not UTC.
    pub(crate) zone: Option<Arc<str>>,
    /// The types that the client gave to the parameters.
    pub(crate) parameters: Vec<Option<DataType>>,
    /// By parameter, what stands in the array that came for it, as constants of SQL.
    pub(crate) lists: Vec<Option<Vec<String>>>,
}

impl Reading {
    /// The same for a statement that reads `views`, or none. The days, months and billing periods of views are those of UTC, whoever
    /// asks, and a view is part of the statement that names it: so a session's zone only says how the instants of its answer are shown.
    pub(crate) fn over(&self, views: bool) -> Cow<'_, Self> {
        match &self.zone {
            Some(_) if views => Cow::Owned(Self { zone: None, ..self.clone() }),
            _ => Cow::Borrowed(self),
        }
    }
}
