//! What a condition on a day, a month or a bin says of the time that it is made of.
//!
//! `date_trunc('day', time) = '2026-11-20'` is looked at row by row, above the scan. `time >= … AND time < …` leaves out files, groups of rows
//! and pages before anything of them is read ([`span`](super::span)). So this rule puts the second beside the first, which stays.
//!
//! What is put in holds for every row for which the condition does. It is the same range, or one that is wider by hours around a change of
//! clocks; a day begins there where the engine's own calendar says so. It begins and ends where a day, an hour or a bin does, so that it
//! keeps nobody from reading rollups. What is not understood is left alone.

use std::sync::Arc;

use arrow::{
    array::timezone::Tz,
    datatypes::{DataType, TimeUnit},
};
use datafusion::{
    common::{Column, DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, Cast, Expr, ExprSchemable, Filter, LogicalPlan, Operator,
        expr::{InList, ScalarFunction},
        lit,
        utils::{conjunction, split_conjunction},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use self::range::{Floor, Range, Step};
use super::{clock::IN_ZONE, trunc::is_utc};

mod range;

/// The rule. It comes when constants are calculated and before conditions are brought to the scans.
#[derive(Debug)]
pub(super) struct Implied;

impl OptimizerRule for Implied {
    fn name(&self) -> &'static str {
        "implied"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let added = added(&filter.predicate, filter.input.schema());
        let Some(added) = conjunction(added) else { return Ok(Transformed::no(plan)) };
        let filter = Filter::try_new(filter.predicate.clone().and(added), Arc::clone(&filter.input))?;
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    }
}

/// Plain conditions that follow from a condition, as far as it does not say them itself.
fn added(condition: &Expr, schema: &DFSchema) -> Vec<Expr> {
    let conditions = split_conjunction(condition);
    let said = all(conditions.iter().copied().filter(|part| is_plain(part)), schema);
    let mut added = Vec::new();
    for Bound { time, range } in all(conditions, schema) {
        let known = said.iter().find(|said| said.time == time).map_or_else(Range::default, |said| said.range);
        let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::clone(&time.zone))));
        let column = || Expr::Column(time.column.clone());
        if let Some(from) = range.from.filter(|from| known.from.is_none_or(|known| known < *from)) {
            added.push(column().gt_eq(at(from)));
        }
        if let Some(to) = range.to.filter(|to| known.to.is_none_or(|known| known > *to)) {
            added.push(column().lt(at(to)));
        }
    }
    added
}

/// Whether a condition compares a column with constants as it stands.
fn is_plain(condition: &Expr) -> bool {
    let is_column = |side: &Expr| matches!(side, Expr::Column(_));
    match condition {
        Expr::BinaryExpr(of) => is_column(&of.left) || is_column(&of.right),
        Expr::Between(of) => is_column(&of.expr),
        _ => false,
    }
}

/// An instant of a table, and its zone as its type has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Time {
    column: Column,
    zone: Arc<str>,
}

/// When it can be.
#[derive(Clone, Debug)]
struct Bound {
    time: Time,
    range: Range,
}

/// What holds where all of these conditions do.
fn all<'a>(conditions: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Vec<Bound> {
    let mut all: Vec<Bound> = Vec::new();
    for bound in conditions.into_iter().flat_map(|condition| bounds(condition, schema)) {
        match all.iter_mut().find(|known| known.time == bound.time) {
            Some(known) => known.range = known.range.and(bound.range),
            None => all.push(bound),
        }
    }
    all
}

/// What holds where either of two conditions does.
fn either(left: &[Bound], right: &[Bound]) -> Vec<Bound> {
    let both = left.iter().filter_map(|one| {
        let other = right.iter().find(|other| other.time == one.time)?;
        Some(Bound { time: one.time.clone(), range: one.range.or(other.range) })
    });
    both.collect()
}

/// What holds of times where a condition does.
fn bounds(condition: &Expr, schema: &DFSchema) -> Vec<Bound> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => all([left.as_ref(), right.as_ref()], schema),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let left = bounds(left, schema);
            // Nothing holds of either that does not hold of the first.
            if left.is_empty() { left } else { either(&left, &bounds(right, schema)) }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let bound = match (left.as_ref(), right.as_ref()) {
                (made, Expr::Literal(value, _)) => compared(made, *op, value, schema),
                (Expr::Literal(value, _), made) => op.swap().and_then(|op| compared(made, op, value, schema)),
                _ => None,
            };
            bound.into_iter().collect()
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let side = |op, value: &Expr| match value {
                Expr::Literal(value, _) => compared(expr, op, value, schema),
                _ => None,
            };
            let sides = side(Operator::GtEq, low).into_iter().chain(side(Operator::LtEq, high));
            let joined = sides.reduce(|one, other| Bound { range: one.range.and(other.range), ..one });
            joined.into_iter().collect()
        }
        Expr::InList(InList { expr, list, negated: false }) => listed(expr, list, schema).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Between the first and the last of a list.
fn listed(made: &Expr, list: &[Expr], schema: &DFSchema) -> Option<Bound> {
    let made = Made::of(made, schema)?;
    let ranges = list.iter().map(|value| match value {
        Expr::Literal(value, _) => made.compared(Operator::Eq, value),
        _ => None,
    });
    // What is not understood may be any time.
    let range = ranges.collect::<Option<Vec<_>>>()?.into_iter().reduce(Range::or)?;
    Some(Bound { time: made.time, range })
}

fn compared(made: &Expr, op: Operator, value: &ScalarValue, schema: &DFSchema) -> Option<Bound> {
    let made = Made::of(made, schema)?;
    let range = made.compared(op, value)?;
    Some(Bound { time: made.time, range })
}

/// What microseconds count.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Those since 1970, put into a zone.
    Instant(Arc<str>),
    /// Those that clocks or a calendar show.
    Clock,
}

/// What is made of a time, step by step, each of which leaves the order of what it is given.
#[derive(Debug)]
struct Made {
    time: Time,
    kind: Kind,
    steps: Vec<Step>,
}

impl Made {
    /// Nothing of what is not understood. Only what is has its type looked up.
    fn of(expr: &Expr, schema: &DFSchema) -> Option<Self> {
        match expr {
            Expr::Column(column) => match expr.get_type(schema) {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(zone))) => {
                    let time = Time { column: column.clone(), zone: Arc::clone(&zone) };
                    Some(Self { time, kind: Kind::Instant(zone), steps: Vec::new() })
                }
                _ => None,
            },
            Expr::Cast(Cast { expr, field, .. }) => Self::of(expr, schema)?.cast(field.data_type()),
            Expr::ScalarFunction(call) => Self::called(call, schema),
            _ => None,
        }
    }

    fn cast(mut self, to: &DataType) -> Option<Self> {
        use TimeUnit::{Microsecond, Nanosecond};
        match (&self.kind, to) {
            // The engine's own leaves the clock of UTC of an instant in any zone.
            (_, DataType::Timestamp(Microsecond | Nanosecond, None)) => self.kind = Kind::Clock,
            (Kind::Instant(_), DataType::Timestamp(Microsecond | Nanosecond, Some(zone))) => {
                self.kind = Kind::Instant(Arc::clone(zone));
            }
            (Kind::Clock, DataType::Timestamp(Microsecond | Nanosecond, Some(zone))) if is_utc(zone) => {
                self.kind = Kind::Instant(Arc::clone(zone));
            }
            (kind, DataType::Date32) => {
                if let Some(place) = place(kind)? {
                    self.steps.push(Step::Shown(place));
                }
                self.steps.push(Step::Floored(Floor::DAY));
                self.kind = Kind::Clock;
            }
            _ => return None,
        }
        Some(self)
    }

    fn called(call: &ScalarFunction, schema: &DFSchema) -> Option<Self> {
        match (call.func.name(), call.args.as_slice()) {
            ("date_trunc", [Expr::Literal(grain, _), time]) => {
                let (floor, of_clock) = Floor::of_grain(grain.try_as_str().flatten()?)?;
                let mut made = Self::of(time, schema)?;
                match place(&made.kind)?.filter(|_| of_clock) {
                    Some(place) => {
                        made.steps.extend([Step::Shown(place), Step::Floored(floor), Step::Read(place)]);
                    }
                    None => made.steps.push(Step::Floored(floor)),
                }
                Some(made)
            }
            ("date_bin", [Expr::Literal(stride, _), time, origin @ ..]) => {
                let origin = match origin {
                    [] => 0,
                    [Expr::Literal(origin, _)] => micros(origin).filter(|(least, most, _)| least == most)?.0,
                    _ => return None,
                };
                let floor = Floor::of_bins(stride, origin)?;
                let mut made = Self::of(time, schema)?;
                made.steps.push(Step::Floored(floor));
                Some(made)
            }
            (IN_ZONE, [Expr::Literal(zone, _), time]) => {
                let zone: Arc<str> = zone.try_as_str().flatten()?.into();
                let mut made = Self::of(time, schema).filter(|made| made.kind != Kind::Clock)?;
                if let Some(place) = place(&Kind::Instant(zone))? {
                    made.steps.push(Step::Shown(place));
                }
                made.kind = Kind::Clock;
                Some(made)
            }
            _ => None,
        }
    }

    /// When the time can be where this is in such an order to a constant.
    fn compared(&self, op: Operator, value: &ScalarValue) -> Option<Range> {
        let (least, most, of_instant) = micros(value)?;
        if of_instant != matches!(self.kind, Kind::Instant(_)) {
            return None;
        }
        let after = least.checked_add(1);
        let range = match op {
            Operator::Eq => Range { from: Some(least), to: after },
            Operator::GtEq => Range { from: Some(most), to: None },
            Operator::Gt => Range { from: after, to: None },
            Operator::LtEq => Range { from: None, to: after },
            Operator::Lt => Range { from: None, to: Some(most) },
            _ => return None,
        };
        Some(self.steps.iter().rev().fold(range, |range, step| step.before(range)))
    }
}

/// Where an instant is looked at by a clock, if that is not UTC; nothing if nobody knows the place.
fn place(kind: &Kind) -> Option<Option<Tz>> {
    match kind {
        Kind::Instant(zone) if !is_utc(zone) && !zone.eq_ignore_ascii_case("utc") => zone.parse().ok().map(Some),
        Kind::Instant(_) | Kind::Clock => Some(None),
    }
}

/// The microseconds of a constant: the last that is not after it and the first that is not before it; and whether it is an instant.
fn micros(value: &ScalarValue) -> Option<(i64, i64, bool)> {
    let whole = |ticks: i64, each: i64| ticks.checked_mul(each).map(|micros| (micros, micros));
    let ((least, most), of_instant) = match value {
        ScalarValue::TimestampSecond(Some(ticks), zone) => (whole(*ticks, 1_000_000)?, zone.is_some()),
        ScalarValue::TimestampMillisecond(Some(ticks), zone) => (whole(*ticks, 1_000)?, zone.is_some()),
        ScalarValue::TimestampMicrosecond(Some(ticks), zone) => ((*ticks, *ticks), zone.is_some()),
        ScalarValue::TimestampNanosecond(Some(ticks), zone) => {
            let least = ticks.div_euclid(1_000);
            ((least, if ticks.rem_euclid(1_000) == 0 { least } else { least + 1 }), zone.is_some())
        }
        ScalarValue::Date32(Some(days)) => (whole(i64::from(*days), range::DAY)?, false),
        _ => return None,
    };
    Some((least, most, of_instant))
}

#[cfg(test)]
mod tests;
