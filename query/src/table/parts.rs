//! `shared_cost_parts`: what becomes of every shared cost, to the last digit.
//!
//! A cost is split among tenants, and the part of a tenant among those of its keys and tags that used something, by what they cost; so
//! whoever adds parts up by whatever they belong to has the whole. Parts are integers of pico-dollars: each is what its weight says,
//! rounded down, and what is left goes, one by one, where most was cut off. What the import does not say how to split stands in a row of
//! nobody, as does what fixed shares leave of the whole, or less than nothing where they are more than it.

use std::collections::BTreeMap;

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Decimal128Type,
};

use schemas::policy::Tenants;

use super::{
    column::{Builder, Column, Kind, Value},
    imported::{Imported, WHOLE},
};
use crate::error::Error;

const fn text(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Text, doc }
}

/// The table.
pub(crate) const TABLE: Imported = Imported::made(
    "shared_cost_parts",
    "What becomes of the imported shared costs: one row for each cost and each key with its tags that bears a part of it. Parts go by what all tenants used, whoever asks.",
    &[
        text("period", "The month, as YYYY-MM."),
        text("name", "The shared cost."),
        text("method", "How it is split: fixed, proportional or even; NULL if the import does not say."),
        text("tenant", "Who bears the part; NULL for what is not split."),
        text("team", "The team of the key; NULL if it names none."),
        text("project", "The project of the key; NULL if it names none."),
        text("user_id", "The user of the key; NULL if it names none."),
        text("key_name", "The key; NULL if the tenant used nothing."),
        text("tags", "The tags as a JSON object."),
        Column {
            name: "cost_usd",
            kind: Kind::Amount,
            doc: "The part, in dollars; the parts of a cost add up to all of it. NULL if the import does not say how much it is.",
        },
    ],
);

/// What tells owners apart, beside the tenant.
const OWNER: [&str; 5] = ["team", "project", "user_id", "key_name", "tags"];

type Owner = [Option<String>; 5];

/// What an owner used in a month, in pico-dollars; nothing of what has no price.
type Use = BTreeMap<String, Vec<(Owner, i128)>>;

/// The question whose answer [`parts`] takes: what was billed in these months, by owner.
pub(crate) fn used_in(costs: &[RecordBatch]) -> Result<String, Error> {
    let mut months: Vec<String> = Vec::new();
    for batch in costs {
        months.extend(texts(batch, "period")?.into_iter().flatten().map(crate::reports::quoted));
    }
    months.sort_unstable();
    months.dedup();
    let months = if months.is_empty() { "''".to_owned() } else { months.join(", ") };
    let owner = OWNER.join(", ");
    Ok(format!(
        "SELECT billing_period, tenant, {owner}, CAST(sum(cost_usd) AS DECIMAL(38, 12)) AS cost_usd FROM charges \
         WHERE billing_period IN ({months}) GROUP BY billing_period, tenant, {owner} ORDER BY billing_period, tenant, {owner}"
    ))
}

/// The rows of these tenants, of what was imported and of what was used; nothing if they are more than `most`.
pub(crate) fn parts(
    costs: &[RecordBatch],
    used: &[RecordBatch],
    tenants: &Tenants,
    most: usize,
) -> Result<Option<RecordBatch>, Error> {
    let used = by_month(used)?;
    let mut rows = Builder::new(TABLE.columns.iter());
    let mut count = 0;
    let nobody = Use::new();
    for (name, cost) in whole(costs)? {
        let month = used.get(&name.0).unwrap_or(&nobody);
        let method = name.2.as_str();
        for (tenant, owner, part) in cost.split(method, month, tenants) {
            count += 1;
            if count > most {
                return Ok(None);
            }
            let [team, project, user, key, tags] =
                owner.each_ref().map(|text| Value::text(text.as_deref().unwrap_or("")));
            let part = Value::or_null(part.map(Value::Decimal));
            let (period, name) = (Value::text(&name.0), Value::text(&name.1));
            let whose = Value::text(tenant.as_deref().unwrap_or(""));
            rows.row(&[&[period, name, Value::text(method), whose, team, project, user, key, tags, part]])
                .map_err(|_| Error::Shape)?;
        }
    }
    rows.finish().map(Some)
}

/// A shared cost of a month.
struct Shared {
    /// Whether no row of it was looked at.
    is_new: bool,
    /// All of it; nothing if a row does not say.
    usd: Option<i128>,
    /// The shares of tenants that are fixed.
    fixed: Vec<(String, i128)>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { is_new: true, usd: None, fixed: Vec::new() }
    }
}

type Part = (Option<String>, Owner, Option<i128>);

impl Shared {
    /// The parts of `visible` tenants, of what all used.
    fn split(&self, method: &str, month: &Use, visible: &Tenants) -> Vec<Part> {
        let Some(usd) = self.usd else { return vec![(None, Owner::default(), None)] };
        let tenants: Vec<&String> = month.keys().collect();
        let (tenants, weights): (Vec<&String>, Vec<i128>) = match method {
            "even" => (tenants.clone(), vec![1; tenants.len()]),
            "proportional" => {
                let cost =
                    |tenant: &&String| month.get(*tenant).map_or(0, |owners| owners.iter().map(|own| own.1).sum());
                (tenants.clone(), tenants.iter().map(cost).collect())
            }
            "fixed" => self.fixed.iter().map(|(tenant, share)| (tenant, *share)).unzip(),
            _ => (Vec::new(), Vec::new()),
        };
        let given: i128 = weights.iter().sum();
        let amounts = match method {
            // What is left of the whole is nobody's part; shares of more than it are what they say.
            "fixed" if given <= WHOLE => {
                split(usd, &[weights.as_slice(), &[WHOLE - given]].concat()).unwrap_or_default()
            }
            "fixed" => {
                weights.iter().map(|share| usd.checked_mul(*share).map_or(usd, |part| part.div_euclid(WHOLE))).collect()
            }
            _ => split(usd, &weights).unwrap_or_default(),
        };
        let mut parts = Vec::with_capacity(amounts.len());
        let mut left = usd;
        for (tenant, amount) in tenants.into_iter().zip(amounts) {
            left -= amount;
            if visible.has(tenant) {
                within(tenant, amount, month, &mut parts);
            }
        }
        if left != 0 {
            parts.push((None, Owner::default(), Some(left)));
        }
        parts
    }
}

/// The part of a tenant, among its owners.
fn within(tenant: &str, amount: i128, month: &Use, parts: &mut Vec<Part>) {
    let owners = month.get(tenant).map_or(&[][..], Vec::as_slice);
    let weights: Vec<i128> = owners.iter().map(|(_, cost)| *cost).collect();
    let tenant = || Some(tenant.to_owned());
    match split(amount, &weights) {
        Some(amounts) => {
            let shared = owners.iter().zip(amounts).filter(|(_, amount)| *amount != 0);
            parts.extend(shared.map(|((owner, _), amount)| (tenant(), owner.clone(), Some(amount))));
        }
        None => parts.push((tenant(), Owner::default(), Some(amount))),
    }
}

/// A whole by weights, of which one less than nothing counts as none; nothing if there is none to go by. The parts add up to the whole.
fn split(whole: i128, weights: &[i128]) -> Option<Vec<i128>> {
    let mut weights: Vec<i128> = weights.iter().map(|weight| (*weight).max(0)).collect();
    // The product of whole and weight has to fit: beyond, the last digits of weights tell nothing that matters.
    while weights.iter().max().is_some_and(|most| whole.checked_mul(*most).is_none()) {
        weights.iter_mut().for_each(|weight| *weight /= 2);
    }
    let all = weights.iter().fold(0_i128, |sum, weight| sum.saturating_add(*weight));
    if all == 0 {
        return None;
    }
    let mut parts: Vec<i128> = weights.iter().map(|weight| (whole * weight).div_euclid(all)).collect();
    let mut left = whole - parts.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(weights.get(*at).map_or(0, |weight| (whole * weight).rem_euclid(all))));
    for at in order {
        if left == 0 {
            break;
        }
        if let Some(part) = parts.get_mut(at) {
            (*part, left) = (*part + 1, left - 1);
        }
    }
    Some(parts)
}

fn by_month(used: &[RecordBatch]) -> Result<BTreeMap<String, Use>, Error> {
    let mut months: BTreeMap<String, Use> = BTreeMap::new();
    for batch in used {
        let (period, tenant) = (texts(batch, "billing_period")?, texts(batch, "tenant")?);
        let owner = OWNER.iter().map(|name| texts(batch, name)).collect::<Result<Vec<_>, _>>()?;
        let cost = decimals(batch, "cost_usd")?;
        for (row, (period, tenant)) in period.into_iter().zip(tenant).enumerate() {
            let (Some(period), Some(tenant)) = (period, tenant) else { continue };
            let mut own = Owner::default();
            for (part, column) in own.iter_mut().zip(&owner) {
                *part = column.get(row).copied().flatten().map(str::to_owned);
            }
            let cost = cost.get(row).copied().flatten().unwrap_or(0);
            months.entry(period.to_owned()).or_default().entry(tenant.to_owned()).or_default().push((own, cost));
        }
    }
    Ok(months)
}

/// The shared costs, each by its month, name and method.
fn whole(costs: &[RecordBatch]) -> Result<BTreeMap<(String, String, String), Shared>, Error> {
    let mut found: BTreeMap<_, Shared> = BTreeMap::new();
    for batch in costs {
        let (period, name, method) = (texts(batch, "period")?, texts(batch, "name")?, texts(batch, "method")?);
        let (tenant, share, usd) = (texts(batch, "tenant")?, decimals(batch, "share")?, decimals(batch, "cost_usd")?);
        for row in 0..batch.num_rows() {
            let word = |texts: &[Option<&str>]| texts.get(row).copied().flatten().unwrap_or_default().to_owned();
            let method = word(&method);
            let of = found.entry((word(&period), word(&name), method.clone())).or_default();
            let usd = usd.get(row).copied().flatten();
            if method == "fixed" {
                // Each row states the whole, and a part of it.
                of.usd = of.usd.max(usd);
                let share = share.get(row).copied().flatten().unwrap_or(0).max(0);
                of.fixed.extend(Some(word(&tenant)).filter(|tenant| !tenant.is_empty()).map(|tenant| (tenant, share)));
            } else {
                // Several of one name are several costs; if one is not known, neither is their sum.
                of.usd = if of.is_new { usd } else { of.usd.zip(usd).map(|(one, other)| one + other) };
            }
            of.is_new = false;
        }
    }
    Ok(found)
}

pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<Vec<Option<&'a str>>, Error> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or(Error::Shape)?;
    Ok(column.iter().collect())
}

pub(super) fn decimals(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i128>>, Error> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Decimal128Type>());
    Ok(column.ok_or(Error::Shape)?.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        let check = |whole: i128, weights: &[i128], wanted: Option<&[i128]>| {
            let parts = split(whole, weights);
            assert_eq!(parts.as_deref(), wanted, "{whole} by {weights:?}");
            assert!(parts.is_none_or(|parts| parts.iter().sum::<i128>() == whole));
        };
        check(10, &[1, 1, 1], Some(&[4, 3, 3]));
        check(-10, &[1, 1, 1], Some(&[-3, -3, -4]));
        check(7, &[5, 0, -3, 1], Some(&[6, 0, 0, 1]));
        check(7, &[0, -3], None);
        check(7, &[], None);
        let most = 10_i128.pow(30);
        check(most, &[most, most], Some(&[most / 2, most / 2]));
    }
}
