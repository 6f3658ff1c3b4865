//! `limits`: every limit that was ever in force, and when.
//!
//! Each change of the policy is a marker row and a row for each limit of it. A limit that stayed the same over several
//! changes is shown as one row.

use schemas::{id::Lane, ledger::Fact};

use super::{
    Builder, Column, Kind, Placed, Policies, PushError, TableDef,
    balances::{Owner, dimensions},
    column::Value,
    newest,
    who::{LOG, WHO, log},
};

const COLUMNS: &[Column] = &[
    Column { name: "limit_name", kind: Kind::Text, doc: "Its name." },
    Column {
        name: "scope",
        kind: Kind::Text,
        doc: "What it matches, such as tenant=acme,user=*; empty for everything.",
    },
    Column { name: "unit", kind: Kind::Text, doc: "What it counts." },
    Column { name: "amount", kind: Kind::Amount, doc: "How much, in its unit (usd in dollars)." },
    Column { name: "limit_window", kind: Kind::Text, doc: "Over what time: second to month, or total." },
    Column { name: "zone", kind: Kind::Text, doc: "The time zone of its windows." },
    Column { name: "mode", kind: Kind::Text, doc: "hard, soft or observe." },
    Column { name: "definition", kind: Kind::Text, doc: "All of it, as JSON." },
    Column { name: "limit_id", kind: Kind::Text, doc: "Its id: what it is with another id is another limit." },
    Column { name: "policy_offset", kind: Kind::Long, doc: "The policy record that brought it." },
    FROM,
];

const FROM: Column = Column { name: "valid_from", kind: Kind::Time, doc: "Since when it is in force." };

const TO: &[Column] = &[Column { name: "valid_to", kind: Kind::Time, doc: "Until when; NULL if it is in force." }];

pub(super) const TABLE: TableDef = TableDef {
    name: "limits",
    doc: "One row for each limit and time over which it stayed the same.",
    stored: &[WHO, COLUMNS, LOG],
    shown: Some(&[WHO, COLUMNS, TO, LOG]),
    resolve: Some(|table, batches| newest::runs(table, batches, &["definition"], "valid_from", "valid_to")),
    condense: None,
    push,
    sort: &["tenant", "log_offset"],
    day: None,
    sums: &["amount"],
    shared: false,
    hidden: false,
};

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Limits(in_force) = &entry.fact else { return Ok(()) };
    // Every lane of metering follows the policy; one history is enough.
    if place.lane != Lane(0) {
        return Ok(());
    }
    let since = [Value::count(in_force.policy.0), Value::Time(entry.recorded_at)];
    rows.row(&[&[Value::Null; 6], &[Value::Null; 9], &since, &log(*place)])?;
    for limit in &in_force.limits {
        let (scope, id) = (scope(limit), limit.id().to_string());
        let definition = serde_json::to_string(limit).map_err(|_| PushError::Misfit("definition"))?;
        let owner = Owner::of(&dimensions(limit, &[]));
        let own = [
            Value::Text(&limit.name),
            Value::Text(&scope),
            Value::Text(limit.unit.name()),
            Value::amount(limit.unit, limit.amount),
            Value::Text(limit.window.name()),
            Value::Text(&limit.zone),
            Value::Text(limit.mode.name()),
            Value::Text(&definition),
            Value::Text(&id),
        ];
        rows.row(&[&owner.values(), &own, &since, &log(*place)])?;
    }
    Ok(())
}

fn scope(limit: &schemas::limit::Limit) -> String {
    let part = |(dimension, matcher): &(schemas::limit::Dimension, schemas::limit::Match)| match matcher {
        schemas::limit::Match::Is(value) => format!("{}={value}", dimension.name()),
        schemas::limit::Match::Each => format!("{}=*", dimension.name()),
    };
    limit.scope.iter().map(part).collect::<Vec<_>>().join(",")
}
