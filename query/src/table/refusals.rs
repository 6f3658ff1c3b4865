//! `refusals`: calls that a limit refused, or would have refused.

use schemas::ledger::Fact;

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    who::{LOG, WHAT, WHO, log, tags_json, what_refused, who},
};

const COLUMNS: &[Column] = &[
    Column {
        name: "count",
        kind: Kind::Long,
        doc: "How many calls: those of one instance, caller, model and second stand together. Where observed is true this limit refused none, so \
              what was refused is its sum over the other rows.",
    },
    Column { name: "limit_name", kind: Kind::Text, doc: "The limit; NULL if none was the reason." },
    Column { name: "unit", kind: Kind::Text, doc: "What the limit counts." },
    Column { name: "amount", kind: Kind::Amount, doc: "The limit's amount, in its unit (usd in dollars)." },
    Column {
        name: "settled",
        kind: Kind::Amount,
        doc: "What was settled of it, as the gateway knew. For who may not read every tenant NULL unless the limit is by tenant.",
    },
    Column {
        name: "held",
        kind: Kind::Amount,
        doc: "What was held of it, as the gateway knew. For who may not read every tenant NULL unless the limit is by tenant.",
    },
    Column { name: "code", kind: Kind::Text, doc: "The error code, such as TG2001." },
    Column {
        name: "observed",
        kind: Kind::Flag,
        doc: "True if this limit refused none: it only observes, or they went on with the model that it names or with another attempt.",
    },
    Column {
        name: "estimated_cost_usd",
        kind: Kind::Usd,
        doc: "What all of these calls together could have cost at most; NULL if that is not known of each.",
    },
    Column { name: "balance_age_ms", kind: Kind::Long, doc: "The age of the balance that the decision used." },
];

pub(super) const TABLE: TableDef = TableDef::of_facts(
    "refusals",
    "Calls that were refused, or would have been: one row for each limit instance, caller, model and second. Of one key and instance 32 rows of a \
     second are such; the calls beyond stand in one with no model, provider, user, team, project or tags.",
    &[WHO, WHAT, COLUMNS, LOG],
    &["count", "estimated_cost_usd"],
    push,
);

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Refused(refused) = &entry.fact else { return Ok(()) };
    let (tags, call) = (tags_json(&refused.subject.tags), refused.call.to_string());
    let limited = !refused.limit.is_empty();
    let amount = |amount| if limited { Value::amount(refused.unit, amount) } else { Value::Null };
    let own = [
        Value::count(refused.count),
        Value::text(&refused.limit),
        if limited { Value::Text(refused.unit.name()) } else { Value::Null },
        amount(refused.amount),
        amount(refused.settled),
        amount(refused.held),
        Value::Text(refused.code.code()),
        Value::Flag(refused.observed),
        Value::or_null(refused.estimated_cost.map(Value::usd)),
        Value::count(refused.balance_age_ms),
    ];
    let what = what_refused(refused, &call, entry.recorded_at);
    rows.row(&[&who(&refused.subject, &tags), &what, &own, &log(*place)])
}
