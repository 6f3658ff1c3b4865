//! `balances`: how far each counter of each limit is, one row a window.
//!
//! Every snapshot of a counter is a row (or a marker where it has no window any more); of each counter only the newest
//! snapshot is shown, so what a query reads is the state at its cut. Metering keeps no counter for ever: what is learned of one later is
//! a row that is added to its last snapshot.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry as Place},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, RecordBatch, UInt32Array},
    compute::{concat_batches, filter_record_batch, not, take_record_batch},
    datatypes::{Decimal128Type, TimestampMicrosecondType},
};
use schemas::{
    decision::{Instance, WindowState},
    id::InstanceId,
    ledger::{Fact, Late},
    limit::{Dimension, Limit, Match},
    time::Time,
};

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    newest,
    who::{LOG, WHO, log, tags_json},
};
use crate::error::Error;

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

/// Whether a row is no snapshot and is added to one.
const LATE: &[Column] =
    &[Column { name: "late", kind: Kind::Flag, doc: "Whether settled is to be added to the snapshot before." }];

pub(super) const TABLE: TableDef = TableDef {
    name: "balances",
    doc: "One row for each limit, counter of it, and window, as of the answer's cut.",
    stored: &[WHO, COLUMNS, LATE, LOG],
    shown: Some(&[WHO, COLUMNS, LOG]),
    resolve: Some(resolve),
    condense: Some(|batches| {
        let (snapshots, late) = split(batches)?;
        Ok([newest::of_each_with_markers(&snapshots, "instance_id")?, late].concat())
    }),
    push,
    sort: &["tenant", "instance_id"],
    day: None,
    sums: &["settled"],
    shared: false,
    hidden: false,
};

fn push(rows: &mut Builder, placed: &Placed, policies: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let instance = match &entry.fact {
        Fact::Balance(instance) => instance,
        Fact::Adjusted(adjusted) => {
            return adjusted.late.iter().try_for_each(|late| push_late(rows, placed, late, policies));
        }
        _ => return Ok(()),
    };
    let limit = policies.limit(instance.limit).ok_or(PushError::PolicyBehind)?;
    let (id, limit_id) = (instance.id.to_string(), instance.limit.to_string());
    let ids = [Value::Time(entry.recorded_at), Value::Text(&id), Value::Text(&limit_id)];
    if instance.windows.is_empty() {
        return rows.row(&[&[Value::Null; 6], &[Value::Null; 11], &ids, &[Value::Flag(false)], &log(*place)]);
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
        rows.row(&[&owner.values(), &own, &ids, &[Value::Flag(false)], &log(*place)])?;
    }
    Ok(())
}

fn push_late(rows: &mut Builder, placed: &Placed, late: &Late, policies: &dyn Policies) -> Result<(), PushError> {
    let limit = policies.limit(late.limit).ok_or(PushError::PolicyBehind)?;
    let id = InstanceId::of(late.limit, &late.values, Some(late.start)).to_string();
    let dimensions = dimensions(&limit, &late.values);
    let own = [
        Value::Text(&limit.name),
        Value::Text(&readable(&limit, &dimensions)),
        Value::Text(limit.unit.name()),
        Value::amount(limit.unit, limit.amount),
        Value::amount(limit.unit, late.amount),
        Value::Null,
        Value::Null,
        Value::Time(late.start),
        Value::Time(late.end),
        Value::Text(limit.window.name()),
        Value::Text(limit.mode.name()),
        Value::Time(placed.entry.recorded_at),
        Value::Text(&id),
        Value::Text(&late.limit.to_string()),
        Value::Flag(true),
    ];
    rows.row(&[&Owner::of(&dimensions).values(), &own, &log(placed.place)])
}

/// The snapshots, and what is to be added to them.
fn split(batches: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Error> {
    let (mut snapshots, mut late) = (Vec::with_capacity(batches.len()), Vec::new());
    for batch in batches {
        // Files from before there was any have none.
        let flags = newest::column(batch, "late")?.as_boolean_opt().ok_or(Error::Shape)?;
        let is_late: BooleanArray = flags.iter().map(|flag| Some(flag == Some(true))).collect();
        snapshots.push(filter_record_batch(batch, &not(&is_late)?)?);
        if is_late.true_count() > 0 {
            late.push(filter_record_batch(batch, &is_late)?);
        }
    }
    Ok((snapshots, late))
}

/// The newest snapshots with what is to be added to them. A counter that had none before is what was added.
fn resolve(table: &TableDef, batches: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let (snapshots, late) = split(batches)?;
    let shown = newest::of_each(&table.stored_schema(), &snapshots, "instance_id", "limit_name")?;
    let counters = shown.num_rows();
    let all = concat_batches(&table.stored_schema(), [&shown].into_iter().chain(&late))?;
    let (ids, starts) = (newest::texts(&all, "instance_id")?, newest::column(&all, "window_start")?);
    let starts = starts.as_primitive_opt::<TimestampMicrosecondType>().ok_or(Error::Shape)?;
    let settled = newest::column(&all, "settled")?.as_primitive_opt::<Decimal128Type>().ok_or(Error::Shape)?;
    let (mut places, mut sums) = (HashMap::new(), BTreeMap::new());
    for row in 0..all.num_rows() {
        match places.entry((ids.value(row), starts.value(row))) {
            Place::Occupied(place) if row >= counters => {
                let sum: &mut i128 = sums.entry(*place.get()).or_default();
                *sum = sum.checked_add(settled.value(row)).ok_or(Error::Shape)?;
            }
            Place::Occupied(mut place) => drop(place.insert(row)),
            Place::Vacant(place) => drop(place.insert(row)),
        }
    }
    let mut kept: Vec<usize> = places.into_values().collect();
    kept.sort_unstable();
    let amounts = kept.iter().map(|row| {
        let more = sums.get(row).copied().unwrap_or(0);
        settled.is_valid(*row).then(|| settled.value(*row).checked_add(more)).flatten()
    });
    let amounts = Decimal128Array::from_iter(amounts).with_data_type(settled.data_type().clone());
    let indices = kept.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX));
    let rows = take_record_batch(&all, &UInt32Array::from_iter_values(indices))?;
    let column = |shown: &Column| match shown.name {
        "settled" => Ok(Arc::new(amounts.clone()) as ArrayRef),
        name => newest::column(&rows, name).cloned(),
    };
    Ok(RecordBatch::try_new(table.schema(), table.columns().map(column).collect::<Result<_, _>>()?)?)
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
