//! How a session of Postgres reads statements: what its clients expect to find beside the tables, what they write that the engine
//! does not know, and in which zone days begin.
//!
//! A statement is changed before it is looked at, so that everything that holds of statements holds of what came of it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::DataType;

pub(crate) mod catalog;
mod names;
pub(crate) mod rewrite;
pub(crate) mod types;
pub(crate) mod zone;

/// What a session says of itself, and its client of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Its user, as it named itself. Nothing depends on it.
    pub(crate) user: Arc<str>,
    /// Its settings, as `current_setting` shows them.
    pub(crate) settings: Arc<BTreeMap<&'static str, String>>,
    /// Its zone, if that is not UTC.
    pub(crate) zone: Option<Arc<str>>,
    /// The types that the client gave to the parameters.
    pub(crate) parameters: Vec<Option<DataType>>,
}
