//! `keys`: every key that was ever in force, and when; nothing that its secret could be known by.
//!
//! Each change of the policy is a marker row and a row for each key. A key that stayed the same over several changes is shown as one
//! row.

use schemas::{
    id::Lane,
    ledger::{Fact, KeyInForce},
};
use serde_json::json;

use super::{
    Builder, Column, Kind, Placed, Policies, PushError, TableDef,
    column::Value,
    newest,
    who::{LOG, WHO, log, tags_json, who},
};

const COLUMNS: &[Column] = &[
    Column {
        name: "expires",
        kind: Kind::Time,
        doc: "The first instant at which it is not good; NULL if there is none.",
    },
    Column { name: "disabled", kind: Kind::Flag, doc: "Whether it is out of use." },
    Column { name: "models", kind: Kind::Text, doc: "The models that it may ask for, as a JSON list; NULL for all." },
    Column {
        name: "former_until",
        kind: Kind::Time,
        doc: "Until when the secret that it had before it was rotated is good as well.",
    },
    Column { name: "definition", kind: Kind::Text, doc: "All of it but the secret, as JSON." },
    Column { name: "policy_offset", kind: Kind::Long, doc: "The policy record that brought it." },
    Column { name: "valid_from", kind: Kind::Time, doc: "Since when it is in force." },
];

const TO: &[Column] = &[Column { name: "valid_to", kind: Kind::Time, doc: "Until when; NULL if it is in force." }];

pub(super) const TABLE: TableDef = TableDef {
    name: "keys",
    doc: "One row for each key and time over which it stayed the same.",
    stored: &[WHO, COLUMNS, LOG],
    shown: Some(&[WHO, COLUMNS, TO, LOG]),
    resolve: Some(|table, batches| newest::runs(table, batches, &["definition"], "valid_from", "valid_to")),
    condense: None,
    push,
    sort: &["tenant", "log_offset"],
    day: None,
    sums: &[],
    shared: false,
    hidden: false,
};

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Keys(in_force) = &entry.fact else { return Ok(()) };
    // Every lane of metering follows the policy; one history is enough.
    if place.lane != Lane(0) {
        return Ok(());
    }
    let since = [Value::count(in_force.policy.0), Value::Time(entry.recorded_at)];
    rows.row(&[&[Value::Null; 6], &[Value::Null; 5], &since, &log(*place)])?;
    for key in &in_force.keys {
        let (tags, definition) = (tags_json(&key.subject.tags), definition(key));
        let models = if key.models.is_empty() { String::new() } else { json!(key.models).to_string() };
        let own = [
            Value::or_null(key.expires.map(Value::Time)),
            Value::Flag(key.disabled),
            Value::text(&models),
            Value::or_null(key.former_until.map(Value::Time)),
            Value::Text(&definition),
        ];
        rows.row(&[&who(&key.subject, &tags), &own, &since, &log(*place)])?;
    }
    Ok(())
}

fn definition(key: &KeyInForce) -> String {
    let subject = &key.subject;
    let tags: serde_json::Map<_, _> =
        subject.tags.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let time = |time: Option<schemas::time::Time>| time.map(|time| time.to_string());
    json!({
        "tenant": subject.tenant, "name": subject.key, "team": subject.team, "project": subject.project,
        "user": subject.user, "tags": tags, "expires": time(key.expires), "disabled": key.disabled,
        "models": key.models, "former_until": time(key.former_until), "corrects": key.corrects,
    })
    .to_string()
}
