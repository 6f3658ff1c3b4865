//! `policy_changes`: who changed what of the policy, and what became of it. No secret is in it.

use schemas::{id::Lane, ledger::Fact};

use super::{
    Builder, Column, Kind, Placed, Policies, PushError, TableDef,
    column::Value,
    who::{LOG, WHO, log},
};

const COLUMNS: &[Column] = &[
    Column { name: "time", kind: Kind::Time, doc: "When it was asked for; for a file, when metering read it." },
    Column {
        name: "changed_by",
        kind: Kind::Text,
        doc: "Who asked for it, by the name under `admins`; NULL for a file.",
    },
    Column { name: "kind", kind: Kind::Text, doc: "What kind of change it is, such as key.disable; file for a file." },
    Column { name: "name", kind: Kind::Text, doc: "What was changed is called so; NULL for a file." },
    Column {
        name: "detail",
        kind: Kind::Text,
        doc: "What it says, as JSON: what it makes, or for a file what it changed.",
    },
    Column { name: "refused", kind: Kind::Text, doc: "Why it was not made; NULL if it was." },
    Column { name: "policy_offset", kind: Kind::Long, doc: "The record of the policy topic." },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "policy_changes",
    "One row for each change of tenants, keys and limits by the admin API, and for each configuration file that was published.",
    &[WHO, COLUMNS, LOG],
    &[],
    push,
);

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Changed(changed) = &entry.fact else { return Ok(()) };
    // Every lane of metering follows the policy; one history is enough.
    if place.lane != Lane(0) {
        return Ok(());
    }
    let is_key = changed.kind.starts_with("key.");
    let who = [
        Value::text(&changed.tenant),
        Value::Null,
        Value::Null,
        Value::Null,
        if is_key { Value::text(&changed.name) } else { Value::Null },
        Value::Null,
    ];
    let own = [
        Value::Time(changed.at.unwrap_or(entry.recorded_at)),
        Value::text(&changed.by),
        Value::Text(&changed.kind),
        Value::text(&changed.name),
        Value::text(&changed.detail),
        Value::text(&changed.refused),
        Value::count(changed.policy.0),
    ];
    rows.row(&[&who, &own, &log(*place)])
}
