//! `alerts`: which counters have reached a share of their limit that its `alerts` name, once for each window, share and amount; and by how much
//! a hard limit was passed, at first and each time that it was by twice as much.

use schemas::{
    ledger::{Alerted, Fact, Overrun},
    limit::Share,
    time::Time,
};

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    balances::{Owner, dimensions, readable},
    column::{Column, Kind, Value},
    who::{LOG, WHO, log},
};

const COLUMNS: &[Column] = &[
    Column { name: "time", kind: Kind::Time, doc: "When metering saw it." },
    Column { name: "limit_name", kind: Kind::Text, doc: "The limit." },
    Column { name: "instance", kind: Kind::Text, doc: "Whose counter of it, as `balances` names it." },
    Column {
        name: "share_percent",
        kind: Kind::Long,
        doc: "The share of the amount that was reached, in hundredths; above 100 only where a hard limit was passed: then what was used, rounded up.",
    },
    Column { name: "unit", kind: Kind::Text, doc: "What the limit counts." },
    Column { name: "amount", kind: Kind::Amount, doc: "The limit's amount then, in its unit (usd in dollars)." },
    Column { name: "settled", kind: Kind::Amount, doc: "What was used in the window then." },
    Column { name: "held", kind: Kind::Amount, doc: "What was held then; with what was used it reached the share." },
    Column { name: "window_start", kind: Kind::Time, doc: "The first instant of the window." },
    Column { name: "window_end", kind: Kind::Time, doc: "The first instant after it; NULL if it never ends." },
    Column { name: "mode", kind: Kind::Text, doc: "hard, soft or observe." },
    Column { name: "instance_id", kind: Kind::Text, doc: "The counter's id." },
    Column { name: "limit_id", kind: Kind::Text, doc: "The limit's id." },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "alerts",
    "Counters of limits that reached a share of their amount, one row for each counter, window, share and amount; and of hard limits that were \
     passed, at first and each time that it was by twice as much.",
    &[WHO, COLUMNS, LOG],
    &[],
    push,
);

/// What an overrun says as a share; nothing where it is too old to say of which limit.
fn of_overrun(passed: &Overrun) -> Option<Alerted> {
    Some(Alerted {
        instance: passed.instance,
        limit: passed.limit?,
        values: passed.values.clone(),
        window: passed.window,
        until: passed.until,
        share: Share(u32::try_from(passed.percent()).unwrap_or(u32::MAX)),
        amount: passed.amount,
        settled: passed.settled,
        held: passed.held,
    })
}

fn push(rows: &mut Builder, placed: &Placed, policies: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let overrun;
    let alerted = match &entry.fact {
        Fact::Alerted(alerted) => &**alerted,
        Fact::Overrun(passed) => match of_overrun(passed) {
            Some(passed) => {
                overrun = passed;
                &overrun
            }
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let limit = policies.limit(alerted.limit).ok_or(PushError::PolicyBehind)?;
    let dimensions = dimensions(&limit, &alerted.values);
    let amount = |amount| Value::amount(limit.unit, amount);
    let (readable, id, limit_id) =
        (readable(&limit, &dimensions), alerted.instance.to_string(), alerted.limit.to_string());
    let own = [
        Value::Time(entry.recorded_at),
        Value::Text(&limit.name),
        Value::Text(&readable),
        Value::count(u64::from(alerted.share.0)),
        Value::Text(limit.unit.name()),
        amount(alerted.amount),
        amount(alerted.settled),
        amount(alerted.held),
        Value::Time(alerted.window),
        if alerted.until == Time::MAX { Value::Null } else { Value::Time(alerted.until) },
        Value::Text(limit.mode.name()),
        Value::Text(&id),
        Value::Text(&limit_id),
    ];
    rows.row(&[&Owner::of(&dimensions).values(), &own, &log(*place)])
}
