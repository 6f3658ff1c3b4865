//! `charges`: one row for each token class that an attempt used, priced or not.

use schemas::{
    ledger::{Entry, Fact, Rated},
    money::Pico,
};

use super::{
    Builder, Place, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    who::{Alike, LOG, WHAT, WHO},
};

const COLUMNS: &[Column] = &[
    Column { name: "attempt", kind: Kind::Int, doc: "The attempt's number in its call, from 1." },
    Column {
        name: "token_class",
        kind: Kind::Text,
        doc: "What was used, such as input, cache_read or output; disjoint.",
    },
    Column { name: "quantity", kind: Kind::Long, doc: "How many tokens or units." },
    Column { name: "price_per_mtok_usd", kind: Kind::Price, doc: "Dollars per million; NULL if it has no price." },
    Column { name: "price_id", kind: Kind::Text, doc: "The row of the price book." },
    Column { name: "price_source", kind: Kind::Text, doc: "Where that row comes from." },
    Column { name: "price_book", kind: Kind::Text, doc: "The hash of the price book." },
    Column { name: "cost_usd", kind: Kind::Usd, doc: "Quantity times price; NULL if it has no price." },
    Column { name: "list_cost_usd", kind: Kind::Usd, doc: "The same at list price." },
    Column { name: "unpriced_reason", kind: Kind::Text, doc: "Why it has no price." },
    Column { name: "billing_period", kind: Kind::Text, doc: "The month it is billed in, as YYYY-MM in UTC." },
    Column { name: "entry", kind: Kind::Text, doc: "original, reversal or correction." },
    Column { name: "corrects", kind: Kind::Text, doc: "The attempt that a reversal or correction is of." },
    Column {
        name: "requests",
        kind: Kind::Int,
        doc: "1 on the first charge of an attempt, else 0; -1 on its reversal: sum it to count attempts.",
    },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "charges",
    "One row for each attempt and token class that it used.",
    &[WHO, WHAT, COLUMNS, LOG],
    &["cost_usd", "list_cost_usd", "quantity", "requests"],
    push,
);

fn push(rows: &mut Builder, entry: &Entry, place: Place, _: &dyn Policies) -> Result<(), PushError> {
    let Fact::Charged(charged) = &entry.fact else { return Ok(()) };
    let settled = &charged.settled;
    let attempt = &settled.attempt;
    let alike = Alike::new(settled, attempt.admitted_at, entry.recorded_at);
    let (book, period) = (attempt.book.to_string(), billing_period(attempt.admitted_at));
    for (index, charge) in charged.charges.iter().enumerate() {
        let model = charge.model.as_deref().unwrap_or(&attempt.model);
        let [price, cost, id, source, why] = match &charge.price {
            Rated::Priced { unit_price, cost, price_id, source } => {
                [per_million(*unit_price), Value::usd(*cost), Value::text(price_id), Value::text(source), Value::Null]
            }
            Rated::Unpriced(why) => [Value::Null, Value::Null, Value::Null, Value::Null, Value::Text(why.name())],
        };
        let own = [
            Value::Int(i64::from(attempt.attempt)),
            Value::Text(charge.class.name()),
            Value::count(charge.quantity),
            price,
            id,
            source,
            Value::Text(&book),
            cost,
            cost,
            why,
            Value::Text(&period),
            Value::Text("original"),
            Value::Null,
            Value::Int(i64::from(index == 0)),
        ];
        alike.row(rows, model, &own, place)?;
    }
    Ok(())
}

/// A pico-dollar for one is a millionth of a dollar for a million, so the integer is the same at six decimals.
pub(super) fn per_million(unit_price: Pico) -> Value<'static> {
    if unit_price.0.unsigned_abs() < 10_u128.pow(18) { Value::Decimal(unit_price.0) } else { Value::Null }
}

fn billing_period(time: schemas::time::Time) -> String {
    time.to_string().chars().take(7).collect()
}
