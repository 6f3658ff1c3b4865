//! `credit_draws`: what is drawn of each prepaid credit.
//!
//! What is used is drawn day by day, of each day from the credit that began first: it is drawn once, whatever credits are good for it, and
//! what is left of one that has ended stays undrawn. Credits in tokens and those in dollars draw apart, since neither says what of the
//! other's is covered.

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};

use super::{
    column::{Builder, Column, Kind, Value},
    imported::Imported,
    parts::{decimals, texts},
};
use crate::{described::known_sums, error::Error};

/// The table.
pub(crate) const TABLE: Imported = Imported::made(
    "credit_draws",
    "What is drawn of each imported prepaid credit: one row for each. What several are good for is drawn from the one that began first, whoever asks.",
    &[
        Column { name: "commitment_id", kind: Kind::Text, doc: "The purchase." },
        Column { name: "tenant", kind: Kind::Text, doc: "Whose use it is good for; NULL for everybody's." },
        Column { name: "provider", kind: Kind::Text, doc: "The provider." },
        Column { name: "model", kind: Kind::Text, doc: "The model; NULL for all of them." },
        Column { name: "starts", kind: Kind::Time, doc: "Since when it is good." },
        Column { name: "ends", kind: Kind::Time, doc: "The first instant at which it is not; NULL if it stays good." },
        Column { name: "unit", kind: Kind::Text, doc: "What it is good for: tokens or usd." },
        Column { name: "quantity", kind: Kind::Amount, doc: "How much." },
        Column { name: "cost_usd", kind: Kind::Amount, doc: "What was paid for it, in dollars." },
        Column {
            name: "drawn",
            kind: Kind::Amount,
            doc: "What is drawn, in its unit; NULL where it is in dollars and none of the use has a price.",
        },
        Column {
            name: "unpriced_quantity",
            kind: Kind::Long,
            doc: "Tokens or units that it is good for and that have no price, so that nothing was drawn for them in dollars.",
        },
    ],
);

/// The question whose answer [`draws`] takes: what was used each day of what credits are good for.
pub(crate) fn used_of(commitments: &[RecordBatch]) -> Result<String, Error> {
    let credits = credits(commitments)?;
    let mut providers: Vec<String> =
        credits.iter().flat_map(|credit| credit.provider.map(crate::reports::quoted)).collect();
    providers.sort_unstable();
    providers.dedup();
    let providers = if providers.is_empty() { "''".to_owned() } else { providers.join(", ") };
    Ok(known_sums(&format!(
        "SELECT date_trunc('day', time) AS day, tenant, provider, model, sum(quantity) AS quantity, \
         CAST(known_sum(cost_usd) AS DECIMAL(38, 12)) AS cost_usd, sum(CASE WHEN cost_usd IS NULL THEN quantity END) AS unpriced \
         FROM charges WHERE provider IN ({providers}) GROUP BY date_trunc('day', time), tenant, provider, model \
         ORDER BY day, tenant, provider, model"
    )))
}

/// A credit, and what is drawn of it.
struct Credit<'a> {
    id: Option<&'a str>,
    tenant: Option<&'a str>,
    provider: Option<&'a str>,
    model: Option<&'a str>,
    starts: Option<i64>,
    ends: Option<i64>,
    unit: Option<&'a str>,
    quantity: Option<i128>,
    paid: Option<i128>,
    drawn: i128,
    is_priced: bool,
    unpriced: i64,
}

/// What was used on a day.
struct Used<'a> {
    day: i64,
    tenant: Option<&'a str>,
    provider: Option<&'a str>,
    model: Option<&'a str>,
}

impl Credit<'_> {
    fn is_good_for(&self, used: &Used<'_>) -> bool {
        let holds = |mine: Option<&str>, of: Option<&str>| mine.is_none() || mine == of;
        self.provider == used.provider
            && holds(self.tenant, used.tenant)
            && holds(self.model, used.model)
            && self.starts.is_none_or(|starts| starts <= used.day)
            && self.ends.is_none_or(|ends| used.day < ends)
    }

    /// Draws what it can of what is left, and says how much that is.
    fn draw(&mut self, left: i128) -> i128 {
        // What is taken back later is given back by the credit that it would be drawn from.
        let drawn = left.min(self.quantity.unwrap_or(0) - self.drawn);
        self.drawn += drawn;
        drawn
    }

    fn row(&self, rows: &mut Builder) -> Result<(), Error> {
        let words = [self.id, self.tenant, self.provider, self.model, self.unit];
        let [id, tenant, provider, model, unit] = words.map(|word| Value::text(word.unwrap_or("")));
        let time = |micros: Option<i64>| Value::or_null(micros.map(schemas::time::Time::from_micros).map(Value::Time));
        let amount = |amount: Option<i128>| Value::or_null(amount.map(Value::Decimal));
        let is_known = self.unit != Some("usd") || self.is_priced || self.unpriced == 0;
        let (quantity, paid) = (amount(self.quantity), amount(self.paid));
        let drawn = amount(is_known.then_some(self.drawn));
        let (starts, ends) = (time(self.starts), time(self.ends));
        rows.row(&[&[
            id,
            tenant,
            provider,
            model,
            starts,
            ends,
            unit,
            quantity,
            paid,
            drawn,
            Value::Int(self.unpriced),
        ]])
        .map_err(|_| Error::Shape)
    }
}

/// The rows, of what was imported and of what was used.
pub(crate) fn draws(commitments: &[RecordBatch], used: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let mut credits = credits(commitments)?;
    for batch in used {
        let names = ["tenant", "provider", "model"].map(|name| texts(batch, name));
        let [tenant, provider, model] = names;
        let (tenant, provider, model) = (tenant?, provider?, model?);
        let days = times(batch, "day")?;
        let (usd, tokens, unpriced) =
            (decimals(batch, "cost_usd")?, longs(batch, "quantity")?, longs(batch, "unpriced")?);
        for (row, day) in days.into_iter().enumerate() {
            let Some(day) = day else { continue };
            let [tenant, provider, model] = [&tenant, &provider, &model].map(|words| words.get(row).copied().flatten());
            let used = Used { day, tenant, provider, model };
            let of = |column: &[Option<i64>]| column.get(row).copied().flatten().unwrap_or(0);
            let (usd, unpriced) = (usd.get(row).copied().flatten(), of(&unpriced));
            let mut left = [usd.unwrap_or(0), i128::from(of(&tokens)) * ONE];
            for credit in credits.iter_mut().filter(|credit| credit.is_good_for(&used)) {
                let [dollars, tokens] = &mut left;
                let left = if credit.unit == Some("tokens") { tokens } else { dollars };
                *left -= credit.draw(*left);
                credit.is_priced |= usd.is_some();
                credit.unpriced = credit.unpriced.saturating_add(unpriced);
            }
        }
    }
    let mut rows = Builder::new(TABLE.columns.iter());
    credits.iter().try_for_each(|credit| credit.row(&mut rows))?;
    rows.finish()
}

/// One of a unit: amounts have twelve decimals.
const ONE: i128 = 1_000_000_000_000;

/// The credits, in the order in which they are drawn.
fn credits(commitments: &[RecordBatch]) -> Result<Vec<Credit<'_>>, Error> {
    let mut credits = Vec::new();
    for batch in commitments {
        let [id, tenant, kind, provider, model, unit] =
            ["commitment_id", "tenant", "kind", "provider", "model", "unit"].map(|name| texts(batch, name));
        let (id, tenant, kind, provider, model, unit) = (id?, tenant?, kind?, provider?, model?, unit?);
        let (starts, ends) = (times(batch, "starts")?, times(batch, "ends")?);
        let (quantity, paid) = (decimals(batch, "quantity")?, decimals(batch, "cost_usd")?);
        for row in (0..batch.num_rows()).filter(|row| kind.get(*row) == Some(&Some("credit"))) {
            credits.push(Credit {
                id: id.get(row).copied().flatten(),
                tenant: tenant.get(row).copied().flatten(),
                provider: provider.get(row).copied().flatten(),
                model: model.get(row).copied().flatten(),
                starts: starts.get(row).copied().flatten(),
                ends: ends.get(row).copied().flatten(),
                unit: unit.get(row).copied().flatten(),
                quantity: quantity.get(row).copied().flatten(),
                paid: paid.get(row).copied().flatten(),
                drawn: 0,
                is_priced: false,
                unpriced: 0,
            });
        }
    }
    credits.sort_by_key(|credit| (credit.starts, credit.ends.unwrap_or(i64::MAX), credit.id));
    Ok(credits)
}

fn times(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i64>>, Error> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(column.ok_or(Error::Shape)?.iter().collect())
}

fn longs(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i64>>, Error> {
    let column = batch.column_by_name(name).ok_or(Error::Shape)?;
    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64)?;
    Ok(column.as_primitive_opt::<arrow::datatypes::Int64Type>().ok_or(Error::Shape)?.iter().collect())
}
