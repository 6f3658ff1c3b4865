//! `prices`: the rows of every price book that was ever in force, and when.
//!
//! Each change of the book is a marker row and the rows of the book.

use schemas::{id::Lane, ledger::Fact, price::Row, time::Time};

use super::{
    Builder, Column, Kind, Placed, Policies, PushError, TableDef,
    charges::per_million,
    column::Value,
    newest,
    who::{LOG, log},
};

const COLUMNS: &[Column] = &[
    Column { name: "provider", kind: Kind::Text, doc: "The provider, or its vendor." },
    Column { name: "model", kind: Kind::Text, doc: "The models: a name, or a pattern." },
    Column { name: "token_class", kind: Kind::Text, doc: "What is priced, such as input, cache_read or output." },
    Column { name: "service_tier", kind: Kind::Text, doc: "The service tier; NULL for the standard one." },
    Column {
        name: "above_input_tokens",
        kind: Kind::Long,
        doc: "Holds for requests with more input tokens than this.",
    },
    Column { name: "price_per_mtok_usd", kind: Kind::Price, doc: "Dollars per million tokens or units." },
    Column { name: "valid_from", kind: Kind::Time, doc: "The first admission time that it prices." },
    Column { name: "valid_to", kind: Kind::Time, doc: "The first admission time after those; NULL if there is none." },
    Column { name: "price_id", kind: Kind::Text, doc: "Names the row, in charges too." },
    Column { name: "price_source", kind: Kind::Text, doc: "Where the price was read." },
    Column { name: "source_date", kind: Kind::Text, doc: "The day it was read." },
    Column { name: "price_book", kind: Kind::Text, doc: "The hash of the book." },
    Column { name: "policy_offset", kind: Kind::Long, doc: "The policy record that brought the book." },
    Column { name: "in_force_from", kind: Kind::Time, doc: "Since when the book is in force." },
];

const TO: &[Column] =
    &[Column { name: "in_force_to", kind: Kind::Time, doc: "Until when; NULL if the book is in force." }];

pub(super) const TABLE: TableDef = TableDef {
    name: "prices",
    doc: "One row for each price of each book and time over which the book was in force.",
    stored: &[COLUMNS, LOG],
    shown: Some(&[COLUMNS, TO, LOG]),
    resolve: Some(|table, batches| {
        newest::runs(table, batches, &["price_book", "price_id"], "in_force_from", "in_force_to")
    }),
    condense: None,
    push,
    sort: &["provider", "model"],
    day: None,
    sums: &["price_per_mtok_usd"],
    shared: true,
    hidden: false,
};

fn push(rows: &mut Builder, placed: &Placed, policies: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Book(in_force) = &entry.fact else { return Ok(()) };
    // Every lane of metering follows the policy; one history is enough.
    if place.lane != Lane(0) {
        return Ok(());
    }
    let book = policies.book(in_force.book).ok_or(PushError::PolicyBehind)?;
    let hash = in_force.book.to_string();
    let since = [Value::Text(&hash), Value::count(in_force.policy.0), Value::Time(entry.recorded_at)];
    rows.row(&[&[Value::Null; 11], &since, &log(*place)])?;
    book.rows_on_top().try_for_each(|row| rows.row(&[&price(row), &since, &log(*place)]))
}

fn price(row: &Row) -> [Value<'_>; 11] {
    [
        Value::text(&row.provider),
        Value::text(row.model.as_str()),
        Value::Text(row.class.name()),
        Value::text(&row.tier),
        Value::count(row.above),
        per_million(row.unit_price),
        Value::Time(row.valid_from),
        if row.valid_to == Time::MAX { Value::Null } else { Value::Time(row.valid_to) },
        Value::text(&row.price_id),
        Value::text(&row.source),
        Value::text(&row.source_date),
    ]
}
