//! The relations that there are, whoever asks: their numbers, and what they and their columns mean.
//!
//! A number goes by the name alone, so that `'usage'::regclass`, which is put into a statement before anybody's tables are known, is
//! the number that the catalogs show.

use std::sync::LazyLock;

use crate::{
    imports,
    sql::{MADE, views},
    table::TableDef,
};

/// The number of the first table.
const FIRST_TABLE: i32 = 16_384;

/// The number of `pg_class` itself, by which descriptions say what they are of.
pub(super) const OF_RELATIONS: i32 = 1_259;

/// The catalogs that descriptions name, by their numbers.
const NUMBERED: &[(&str, i32)] = &[
    ("pg_class", OF_RELATIONS),
    ("pg_namespace", 2_615),
    ("pg_type", 1_247),
    ("pg_proc", 1_255),
    ("pg_database", 1_262),
];

/// The names of everything that a session has in its schema, in the order of their numbers.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let tables = TableDef::shown().map(|table| table.name);
    let made = imports::ALL.iter().chain(MADE).map(|table| table.name);
    let mut names: Vec<_> = tables.chain(views::names()).chain(made).collect();
    names.sort_unstable();
    names
});

/// The number of a table or view, or of one of the catalogs that descriptions are of.
pub(super) fn number_of(name: &str) -> Option<i32> {
    let catalogs = NUMBERED.iter().map(|(name, number)| (*number, name));
    let relations = (FIRST_TABLE..).zip(NAMES.iter());
    catalogs.chain(relations).find(|(_, known)| **known == name).map(|(number, _)| number)
}

/// What a relation means.
pub(super) struct Known {
    /// It.
    pub(super) about: &'static str,
    /// Its columns, by name.
    pub(super) columns: Vec<(&'static str, &'static str)>,
}

/// What a table or view means.
pub(super) fn of(name: &str) -> Option<Known> {
    if let Some(table) = TableDef::shown().find(|table| table.name == name) {
        let columns = table.columns().map(|column| (column.name, column.doc)).collect();
        return Some(Known { about: table.doc, columns });
    }
    if let Some(view) = views::described(name) {
        let columns = view.columns.iter().map(|column| (column.name, column.doc)).collect();
        return Some(Known { about: &view.about, columns });
    }
    let table = imports::ALL.iter().chain(MADE).find(|table| table.name == name)?;
    let columns = table.columns.iter().map(|column| (column.name, column.doc)).collect();
    Some(Known { about: table.doc, columns })
}

/// The query that the view of a number stands for.
pub(super) fn query_numbered(number: i64) -> Option<&'static str> {
    let at = number.checked_sub(i64::from(FIRST_TABLE))?;
    NAMES.get(usize::try_from(at).ok()?).and_then(|name| query_of(name))
}

/// The query that a view stands for.
pub(super) fn query_of(name: &str) -> Option<&'static str> {
    views::described(name).map(|view| view.sql)
}
