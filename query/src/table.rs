//! The tables of the lake: what their columns are and how ledger entries become their rows.
//!
//! Every table has one source, the ledger, and every row says which record of it it comes from (`log_partition`,
//! `log_offset`). What is not known is NULL, never zero or empty. Money is exact: decimals of dollars, from integers of
//! pico-dollars. Rows are only ever added; a table whose rows replace or end each other is brought up to date when it is
//! read, by its [`TableDef::resolve`].
//!
//! This file does no I/O. `lake` stores the rows, `tail` holds those that are not stored yet.

mod alerts;
mod balances;
mod calls;
mod charges;
mod column;
pub(crate) mod draws;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod imported;
mod keys;
mod ledger;
mod limits;
mod newest;
pub(crate) mod parts;
mod policy_changes;
mod prices;
mod refusals;
mod usage;
mod who;

use std::{fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use schemas::{
    id::{BookHash, Lane, LimitId, Offset},
    limit::Limit,
    price::Book,
};

pub use column::{Builder, Column, Kind};
pub(crate) use ledger::checksum;
pub(crate) use prices::published;
pub(crate) use who::tags_json;

use crate::{error::Error, tail::Placed};

/// The column that says which lane of the ledger a row comes from.
pub const LOG_PARTITION: &str = "log_partition";

/// The column that says at which offset of that lane.
pub const LOG_OFFSET: &str = "log_offset";

/// Every table.
pub const ALL: &[TableDef] = &[
    usage::TABLE,
    calls::TABLE,
    charges::TABLE,
    refusals::TABLE,
    alerts::TABLE,
    balances::TABLE,
    limits::TABLE,
    keys::TABLE,
    policy_changes::TABLE,
    prices::TABLE,
    ledger::TABLE,
];

/// The archive: the table that holds the ledger itself.
pub const ARCHIVE: &TableDef = &ledger::TABLE;

/// A table.
pub struct TableDef {
    /// Its name in SQL, and of its folder in the lake.
    pub name: &'static str,
    /// What one row is.
    pub doc: &'static str,
    /// The columns in the files and in the tail, in groups.
    stored: &'static [&'static [Column]],
    /// The columns that queries see, where they are others.
    shown: Option<&'static [&'static [Column]]>,
    /// Makes what queries see of all the stored rows; nothing where they are the same.
    pub resolve: Option<Resolve>,
    /// Leaves out rows that later ones among them replace, in files; nothing where every row stays.
    pub(crate) condense: Option<Condense>,
    /// Makes the rows of an entry.
    pub(crate) push: Push,
    /// The columns that files are sorted by.
    pub sort: &'static [&'static str],
    /// The time column whose UTC day is the partition; nothing for small tables, which are one partition.
    pub day: Option<&'static str>,
    /// The columns whose sums compaction proves equal before and after.
    pub sums: &'static [&'static str],
    /// Whether its rows belong to no tenant and every token may read them.
    pub shared: bool,
    /// Whether no query sees it.
    pub hidden: bool,
}

/// Makes what queries see of all the rows of a table, in any order.
pub type Resolve = fn(&TableDef, &[RecordBatch]) -> Result<RecordBatch, Error>;

/// Leaves out what no query of these or later rows sees.
pub type Condense = fn(&[RecordBatch]) -> Result<Vec<RecordBatch>, Error>;

/// Makes the rows of an entry.
pub type Push = fn(&mut Builder, &Placed, &dyn Policies) -> Result<(), PushError>;

/// Where in the ledger an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its lane.
    pub lane: Lane,
    /// Its offset.
    pub offset: Offset,
}

/// What the policy topic says, now or earlier: entries name limits and price books, the policy defines them.
pub trait Policies: Send + Sync {
    /// A book that a policy record carried; nothing if it has not been read yet.
    fn book(&self, hash: BookHash) -> Option<Book>;

    /// A limit as the last policy that had it defines it; nothing if it has not been read yet.
    fn limit(&self, id: LimitId) -> Option<Arc<Limit>>;
}

/// Why an entry gave no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The policy record that defines what the entry names has not been read yet: try again.
    #[error("the policy that the entry names has not been read yet")]
    PolicyBehind,
    /// A row does not fit its columns: a bug.
    #[error("the row does not fit column {0}")]
    Misfit(&'static str),
}

impl TableDef {
    /// A table whose rows stand for what happened, by day: none is replaced or ended by a later one.
    const fn of_facts(
        name: &'static str,
        doc: &'static str,
        stored: &'static [&'static [Column]],
        sums: &'static [&'static str],
        push: Push,
    ) -> Self {
        let (sort, day) = (&["tenant", "time"], Some("time"));
        Self {
            name,
            doc,
            stored,
            shown: None,
            resolve: None,
            condense: None,
            push,
            sort,
            day,
            sums,
            shared: false,
            hidden: false,
        }
    }

    /// Those that queries see.
    pub fn shown() -> impl Iterator<Item = &'static Self> {
        ALL.iter().filter(|table| !table.hidden)
    }

    /// The columns in files and in the tail.
    pub fn stored_columns(&self) -> impl Iterator<Item = &'static Column> + use<> {
        self.stored.iter().flat_map(|group| group.iter())
    }

    /// The columns that queries see.
    pub fn columns(&self) -> impl Iterator<Item = &'static Column> + use<> {
        self.shown.unwrap_or(self.stored).iter().flat_map(|group| group.iter())
    }

    /// The schema of files and of the tail.
    pub fn stored_schema(&self) -> SchemaRef {
        column::schema(self.stored_columns())
    }

    /// The schema that queries see.
    pub fn schema(&self) -> SchemaRef {
        column::schema(self.columns())
    }

    /// An empty builder of its stored rows.
    pub fn builder(&self) -> Builder {
        Builder::new(self.stored_columns())
    }

    /// Its place in [`ALL`].
    pub fn index(&self) -> usize {
        ALL.iter().position(|table| table.name == self.name).unwrap_or(0)
    }
}

/// The table of a name.
pub fn by_name(name: &str) -> Option<&'static TableDef> {
    ALL.iter().find(|table| table.name == name)
}

impl fmt::Debug for TableDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableDef").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
