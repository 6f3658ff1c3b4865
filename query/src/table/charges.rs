//! `charges`: one row for each token class that an attempt used, priced or not; and of each correction one that takes it back and one
//! that charges it anew. The sum of all is what is so.

use schemas::{
    event::Settled,
    id::BookHash,
    ledger::{Charge, Entry, Fact, Rated},
    money::Pico,
    price::{self, Key, Listed},
    time::Time,
    tokens::Usage,
};

use super::{
    Builder, Place, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    who::{Alike, LOG, WHAT, WHO},
};
use crate::focus::{CLOSED_AFTER, Month};

const COLUMNS: &[Column] = &[
    Column { name: "attempt", kind: Kind::Int, doc: "The attempt's number in its call, from 1." },
    Column {
        name: "token_class",
        kind: Kind::Text,
        doc: "What was used, such as input, cache_read or output; disjoint.",
    },
    Column { name: "quantity", kind: Kind::Long, doc: "How many tokens or units; less than none on a reversal." },
    Column { name: "price_per_mtok_usd", kind: Kind::Price, doc: "Dollars per million; NULL if it has no price." },
    Column { name: "price_id", kind: Kind::Text, doc: "The row of the price book." },
    Column { name: "price_source", kind: Kind::Text, doc: "Where that row comes from." },
    Column { name: "price_book", kind: Kind::Text, doc: "The hash of the price book." },
    Column { name: "cost_usd", kind: Kind::Usd, doc: "Quantity times price; NULL if it has no price." },
    Column {
        name: "list_cost_usd",
        kind: Kind::Usd,
        doc: "The same at the list price: that of the built-in price book, whatever a price file puts on top. NULL if it has none.",
    },
    Column { name: "unpriced_reason", kind: Kind::Text, doc: "Why it has no price." },
    Column { name: "billing_period", kind: Kind::Text, doc: "The month it is billed in, as YYYY-MM in UTC." },
    Column { name: "entry", kind: Kind::Text, doc: "original, reversal or correction." },
    Column {
        name: "corrects",
        kind: Kind::Text,
        doc: "The attempt that a reversal or correction is of, as call_id/attempt.",
    },
    Column {
        name: "requests",
        kind: Kind::Int,
        doc: "1 on the first charge of an attempt or correction, else 0; -1 on a reversal: sum it to count attempts.",
    },
    Column {
        name: "completeness",
        kind: Kind::Text,
        doc: "How sure the counts are that an original or a correction states: exact, lower_bound or estimated; NULL on a reversal, and on what earlier versions wrote.",
    },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "charges",
    "One row for each attempt and token class that it used.",
    &[WHO, WHAT, COLUMNS, LOG],
    &["cost_usd", "list_cost_usd", "quantity", "requests"],
    push,
);

fn push(rows: &mut Builder, placed: &Placed, policies: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    match &entry.fact {
        Fact::Charged(charged) => {
            let settled = &charged.settled;
            let period = billed_at(settled.attempt.admitted_at, entry.recorded_at);
            let original = Posted { entry: "original", sign: 1, book: settled.attempt.book, period };
            original.rows(rows, policies, (entry, *place), settled, (&settled.usage, charged.charges.as_slice()))
        }
        Fact::Corrected(corrected) => {
            // What is corrected is billed when it becomes known: the month of the original may be closed.
            let (settled, period) = (&corrected.charged.settled, entry.recorded_at);
            let reversal = Posted { entry: "reversal", sign: -1, book: corrected.was.book, period };
            reversal.rows(
                rows,
                policies,
                (entry, *place),
                settled,
                (&corrected.was.usage, corrected.reversed.as_slice()),
            )?;
            let correction = Posted { entry: "correction", sign: 1, book: settled.attempt.book, period };
            let posted = (&settled.usage, corrected.charged.charges.as_slice());
            correction.rows(rows, policies, (entry, *place), settled, posted)
        }
        _ => Ok(()),
    }
}

/// One side of what is posted.
struct Posted {
    entry: &'static str,
    /// 1, or -1 where it is taken back.
    sign: i64,
    book: BookHash,
    /// An instant of the month that it is billed in.
    period: Time,
}

impl Posted {
    fn rows(
        &self,
        rows: &mut Builder,
        policies: &dyn Policies,
        (entry, place): (&Entry, Place),
        settled: &Settled,
        (usage, charges): (&Usage, &[Charge]),
    ) -> Result<(), PushError> {
        let listed = self.listed(policies, settled, usage, charges)?;
        let attempt = &settled.attempt;
        let alike = Alike::new(settled, attempt.admitted_at, entry.recorded_at);
        let (book, period) = (self.book.to_string(), billing_period(self.period));
        let corrects = (self.entry != "original").then(|| format!("{}/{}", attempt.call, attempt.attempt));
        let signed = |amount: Pico| Value::usd(Pico(amount.0 * i128::from(self.sign)));
        for (index, charge) in charges.iter().enumerate() {
            let model = charge.model.as_deref().unwrap_or(&attempt.model);
            let [price, cost, id, source, why] = match &charge.price {
                Rated::Priced { unit_price, cost, price_id, source } => {
                    [per_million(*unit_price), signed(*cost), Value::text(price_id), Value::text(source), Value::Null]
                }
                Rated::Unpriced(why) => [Value::Null, Value::Null, Value::Null, Value::Null, Value::Text(why.name())],
            };
            let listed = listed.get(index).filter(|listed| listed.class == charge.class).and_then(|listed| listed.cost);
            let listed = listed.filter(|_| matches!(charge.price, Rated::Priced { .. }));
            let own = [
                Value::Int(i64::from(attempt.attempt)),
                Value::Text(charge.class.name()),
                Value::Int(self.sign * i64::try_from(charge.quantity).unwrap_or(i64::MAX)),
                price,
                id,
                source,
                Value::Text(&book),
                cost,
                Value::or_null(listed.map(signed)),
                why,
                Value::Text(&period),
                Value::Text(self.entry),
                Value::or_null(corrects.as_deref().map(Value::Text)),
                Value::Int(if index == 0 { self.sign } else { 0 }),
                if self.sign < 0 { Value::Null } else { Value::Text(settled.usage.completeness.name()) },
            ];
            alike.row(rows, model, &own, place)?;
        }
        Ok(())
    }
}

impl Posted {
    /// What the charges are at list price. By the book that they name and nothing else, so that it is the same whenever a row is made.
    fn listed(
        &self,
        policies: &dyn Policies,
        settled: &Settled,
        usage: &Usage,
        charges: &[Charge],
    ) -> Result<Vec<Listed>, PushError> {
        if charges.iter().all(|charge| matches!(charge.price, Rated::Unpriced(_))) {
            return Ok(Vec::new());
        }
        let book = policies.book(self.book).ok_or(PushError::PolicyBehind)?;
        let attempt = &settled.attempt;
        let key = Key {
            provider: &attempt.provider,
            vendor: attempt.api.vendor(),
            model: &attempt.model,
            tier: &settled.service_tier,
            at: attempt.admitted_at,
        };
        Ok(price::list(&book, &key, &settled.model_answered, &usage.parts))
    }
}

/// A pico-dollar for one is a millionth of a dollar for a million, so the integer is the same at six decimals.
pub(super) fn per_million(unit_price: Pico) -> Value<'static> {
    if unit_price.0.unsigned_abs() < 10_u128.pow(18) { Value::Decimal(unit_price.0) } else { Value::Null }
}

/// When usage is billed: when it was, or, if its month is closed by the time that it becomes known, then.
fn billed_at(used: Time, recorded: Time) -> Time {
    // Within so many days no month can have closed.
    if recorded.since(used) < CLOSED_AFTER {
        return used;
    }
    let closes = Month::parse(&billing_period(used)).ok().and_then(|month| month.closes());
    if closes.is_some_and(|closes| recorded >= closes) { recorded } else { used }
}

fn billing_period(time: Time) -> String {
    time.to_string().chars().take(7).collect()
}
