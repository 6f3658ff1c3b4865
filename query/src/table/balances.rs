//! `balances`: how far each counter of each limit is, one row a window.
//!
//! Every snapshot of a counter is a row (or a marker where it has no window any more); of each counter only the newest
//! snapshot is shown, so what a query reads is the state at its cut.

use schemas::{
    decision::{Instance, WindowState},
    ledger::Fact,
    limit::{Dimension, Limit, Match},
    time::Time,
};

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    newest,
    who::{LOG, WHO, log, tags_json},
};

const COLUMNS: &[Column] = &[
    Column { name: "limit_name", kind: Kind::Text, doc: "The limit." },
    Column {
        name: "instance",
        kind: Kind::Text,
        doc: "Whose counter of it: its dimensions, such as tenant=acme,user=bob, or the limit's name if it has one counter.",
    },
    Column { name: "unit", kind: Kind::Text, doc: "What it counts." },
    Column { name: "amount", kind: Kind::Amount, doc: "The limit's amount, in its unit (usd in dollars)." },
    Column { name: "settled", kind: Kind::Amount, doc: "What was used in this window, corrections included." },
    Column {
        name: "held",
        kind: Kind::Amount,
        doc: "What is held for calls that run or whose use is not known; NULL on past windows.",
    },
    Column { name: "leased", kind: Kind::Amount, doc: "What gateways may spend without asking; NULL on past windows." },
    Column { name: "window_start", kind: Kind::Time, doc: "The first instant of the window." },
    Column { name: "window_end", kind: Kind::Time, doc: "The first instant after it; NULL if it never ends." },
    Column { name: "limit_window", kind: Kind::Text, doc: "How long a window is: second to month, or total." },
    Column { name: "mode", kind: Kind::Text, doc: "hard, soft or observe." },
    Column { name: "recorded_at", kind: Kind::Time, doc: "When metering wrote this state." },
    Column { name: "instance_id", kind: Kind::Text, doc: "The counter's id." },
    Column { name: "limit_id", kind: Kind::Text, doc: "The limit's id." },
];

pub(super) const TABLE: TableDef = TableDef {
    name: "balances",
    doc: "One row for each limit, counter of it, and window, as of the answer's cut.",
    stored: &[WHO, COLUMNS, LOG],
    shown: None,
    resolve: Some(|table, batches| newest::of_each(&table.schema(), batches, "instance_id", "limit_name")),
    condense: Some(|batches| newest::of_each_with_markers(batches, "instance_id")),
    push,
    sort: &["tenant", "instance_id"],
    day: None,
    sums: &["settled"],
    shared: false,
    hidden: false,
};

fn push(rows: &mut Builder, placed: &Placed, policies: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Balance(instance) = &entry.fact else { return Ok(()) };
    let limit = policies.limit(instance.limit).ok_or(PushError::PolicyBehind)?;
    let (id, limit_id) = (instance.id.to_string(), instance.limit.to_string());
    let ids = [Value::Time(entry.recorded_at), Value::Text(&id), Value::Text(&limit_id)];
    if instance.windows.is_empty() {
        return rows.row(&[&[Value::Null; 6], &[Value::Null; 11], &ids, &log(*place)]);
    }
    let dimensions = dimensions(&limit, &instance.values);
    let owner = Owner::of(&dimensions);
    let readable = readable(&limit, &dimensions);
    for (index, window) in instance.windows.iter().enumerate() {
        let newest = index + 1 == instance.windows.len();
        let now = |of: fn(&Instance, &WindowState) -> i128| {
            if newest { Value::amount(limit.unit, of(instance, window)) } else { Value::Null }
        };
        let own = [
            Value::Text(&limit.name),
            Value::Text(&readable),
            Value::Text(limit.unit.name()),
            Value::amount(limit.unit, instance.amount),
            Value::amount(limit.unit, instance.settled(window)),
            now(Instance::held),
            now(|instance, _| instance.leased()),
            Value::Time(window.start),
            if window.end == Time::MAX { Value::Null } else { Value::Time(window.end) },
            Value::Text(limit.window.name()),
            Value::Text(limit.mode.name()),
        ];
        rows.row(&[&owner.values(), &own, &ids, &log(*place)])?;
    }
    Ok(())
}

/// The dimensions of a counter with their values; those of the limit alone where no counter is meant.
pub(super) fn dimensions<'a>(limit: &'a Limit, values: &'a [String]) -> Vec<(&'a Dimension, &'a str)> {
    let mut taken = values.iter();
    let value = |matcher: &'a Match| match matcher {
        Match::Is(value) => Some(value.as_str()),
        Match::Each => taken.next().map(String::as_str),
    };
    let values: Vec<_> = limit.scope.iter().map(|(_, matcher)| matcher).map(value).collect();
    limit.scope.iter().zip(values).filter_map(|((dimension, _), value)| Some((dimension, value?))).collect()
}

pub(super) fn readable(limit: &Limit, dimensions: &[(&Dimension, &str)]) -> String {
    if limit.scope.iter().all(|(_, matcher)| *matcher != Match::Each) {
        return limit.name.clone();
    }
    dimensions.iter().map(|(dimension, value)| format!("{}={value}", dimension.name())).collect::<Vec<_>>().join(",")
}

/// The dimensions of a counter in the columns of [`WHO`].
pub(super) struct Owner<'a> {
    columns: [&'a str; 5],
    tags: String,
}

impl<'a> Owner<'a> {
    pub(super) fn of(dimensions: &[(&Dimension, &'a str)]) -> Self {
        let value = |wanted: &Dimension| {
            dimensions.iter().find(|(dimension, _)| *dimension == wanted).map_or("", |(_, value)| *value)
        };
        let tags: Vec<_> = dimensions
            .iter()
            .filter_map(|(dimension, value)| match dimension {
                Dimension::Tag(name) => Some((name.clone(), (*value).to_owned())),
                _ => None,
            })
            .collect();
        let columns =
            [&Dimension::Tenant, &Dimension::Team, &Dimension::Project, &Dimension::User, &Dimension::Key].map(value);
        Self { columns, tags: tags_json(&tags) }
    }

    pub(super) fn values(&self) -> [Value<'_>; 6] {
        let [tenant, team, project, user, key] = self.columns.map(Value::text);
        [tenant, team, project, user, key, Value::text(&self.tags)]
    }
}
