//! What has one value for all rows that a row of a rollup stands for, and can be had from that row without any failure.
//!
//! The columns in which they are alike have, and so has what is made of these by functions that always have a value; whether a number
//! is NULL; the hour or the day of their time; and whether their time is before or after an instant, where no row of the rollup has
//! times on both sides ([`Times`] says for which files that is so). Everything else needs the rows: what could fail as well, because
//! which failure is met first would depend on whether there is a rollup.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::{DFSchema, ScalarValue, TableReference},
    logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, expr::ScalarFunction},
};

use crate::{
    lake::DataFile,
    rollup::{self, Grain, RECORDED_AT, TIME},
    sql::{
        clock::IN_ZONE,
        parts,
        trunc::{HOUR_SECONDS, are_whole, is_utc},
        whole::WHOLE,
    },
    table::TableDef,
};

/// Functions of values that are alike, which cannot fail.
const FUNCTIONS: &[&str] = &["coalesce", "nullif", "lower", "upper", "starts_with", "tag"];

/// The column of tags.
pub(super) const TAGS: &str = "tags";

/// A part of a time, as a decimal or a float.
const PART: &str = "date_part";

/// The digits of any `BIGINT`.
const INTEGER_DIGITS: i16 = 19;

/// What a question has to know of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Whether it tells the hours of a day apart.
    hourly: bool,
    /// In which zones, beside UTC.
    zones: BTreeSet<Arc<str>>,
    /// Between which microseconds since 1970 it tells times apart: those before each of these from it and those after.
    edges: BTreeSet<i64>,
    /// The same of when rows were recorded.
    recorded: BTreeSet<i64>,
}

impl Times {
    /// Whether a rollup of a file by this grain knows what is asked.
    pub(super) fn are_known(&self, file: &DataFile, grain: Grain) -> bool {
        let Some((start, end)) = file.times() else { return false };
        let (start, end) = (start.as_micros(), end.as_micros());
        let hours = start.div_euclid(Grain::Hour.micros())..end.div_euclid(Grain::Hour.micros());
        let within = |edge: i64| edge <= start || edge >= end || edge.rem_euclid(grain.micros()) == 0;
        let recorded = match (file.recorded_from, file.recorded_to) {
            (Some(from), Some(to)) => {
                self.recorded.iter().all(|edge| *edge <= from.as_micros() || *edge > to.as_micros())
            }
            _ => self.recorded.is_empty(),
        };
        (grain == Grain::Hour || !self.hourly)
            && self.zones.iter().all(|zone| are_whole(hours.clone(), zone))
            && self.edges.iter().all(|edge| within(*edge))
            && recorded
    }

    /// Whether any rollup by this grain may know what is asked.
    pub(super) fn may_be_known(&self, grain: Grain) -> bool {
        grain == Grain::Hour || !self.hourly
    }
}

/// What a question has to know of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tags {
    /// Those that it names.
    names: BTreeSet<Arc<str>>,
    /// Whether it looks at the set of them.
    all: bool,
}

impl Tags {
    /// Whether it is known where rows have this tag alone; nothing stands for any one.
    pub(super) fn are_known(&self, by: Option<&str>) -> bool {
        !self.all && self.names.len() < 2 && self.names.iter().all(|name| by.is_none_or(|by| **name == *by))
    }

    /// The only one that it looks at.
    pub(super) fn one(&self) -> Option<&str> {
        self.names.first().filter(|_| self.are_known(None)).map(|name| &**name)
    }
}

/// Finds what is alike, and takes note of what it wants to know of times and of tags.
pub(super) struct Alike<'a> {
    pub(super) table: &'static TableDef,
    /// What the table is called.
    pub(super) name: &'a TableReference,
    pub(super) schema: &'a DFSchema,
    pub(super) times: Times,
    pub(super) tags: Tags,
}

impl<'a> Alike<'a> {
    /// Of expressions in columns of a table.
    pub(super) fn new(table: &'static TableDef, name: &'a TableReference, schema: &'a DFSchema) -> Self {
        Self { table, name, schema, times: Times::default(), tags: Tags::default() }
    }

    /// Whether an expression has one value for all rows that a row stands for.
    pub(super) fn is(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Literal(..) => true,
            Expr::Column(column) => {
                self.tags.all |= column.name == TAGS;
                self.is_column(&column.name)
            }
            Expr::IsNull(of) | Expr::IsNotNull(of) => match &**of {
                Expr::Column(column) if rollup::is_measure(self.table, &column.name) => true,
                of => self.is(of),
            },
            Expr::Not(of)
            | Expr::IsTrue(of)
            | Expr::IsFalse(of)
            | Expr::IsUnknown(of)
            | Expr::IsNotTrue(of)
            | Expr::IsNotFalse(of)
            | Expr::IsNotUnknown(of) => self.is(of),
            Expr::BinaryExpr(of) => self.is_compared(of) || self.is_operation(of),
            Expr::Between(Between { expr, low, high, .. }) => {
                let instants = self.is_edge(expr, Operator::GtEq, low) && self.is_edge(expr, Operator::LtEq, high);
                instants || self.is(expr) && self.is(low) && self.is(high)
            }
            Expr::InList(of) => self.is(&of.expr) && of.list.iter().all(|value| self.is(value)),
            Expr::Like(of) => {
                of.escape_char.is_none() && self.is(&of.expr) && matches!(&*of.pattern, Expr::Literal(..))
            }
            Expr::Case(of) => {
                let parts = of.when_then_expr.iter().flat_map(|(when, then)| [when, then]);
                of.expr.iter().chain(parts).chain(&of.else_expr).all(|part| self.is(part))
            }
            Expr::Cast(of) => {
                let to = of.field.data_type();
                self.is_safe_cast(&of.expr, to) && self.is(&of.expr)
                    || *to == DataType::Date32 && self.is_clock(&of.expr)
                    || has_room(to) && self.is_part(&of.expr)
            }
            Expr::ScalarFunction(of) if let Some(name) = tag_named(of) => {
                self.tags.names.insert(name.into());
                self.is_column(TAGS)
            }
            Expr::ScalarFunction(of) if FUNCTIONS.contains(&of.name()) => of.args.iter().all(|arg| self.is(arg)),
            // What a cast of a float to an integer is by now.
            Expr::ScalarFunction(of) if of.name() == WHOLE => {
                let to = expr.get_type(self.schema);
                to.is_ok_and(|to| has_room(&to)) && of.args.iter().all(|part| self.is_part(part))
            }
            Expr::ScalarFunction(of) => self.is_of_clock(of),
            _ => false,
        }
    }

    /// Whether this is a part of a time that is alike, which is a whole number.
    fn is_part(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::ScalarFunction(of) => parts::NAMES.contains(&of.name()) && self.is_of_clock(of),
            _ => false,
        }
    }

    fn is_column(&self, name: &str) -> bool {
        rollup::of_table(self.table).any(|rollup| rollup.has(name))
    }

    /// Operators that have a value for all values: comparisons, and those of truth.
    fn is_operation(&mut self, of: &BinaryExpr) -> bool {
        use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
        matches!(of.op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
            && self.is(&of.left)
            && self.is(&of.right)
    }

    /// A time beside an instant.
    fn is_compared(&mut self, of: &BinaryExpr) -> bool {
        self.is_edge(&of.left, of.op, &of.right) || of.op.swap().is_some_and(|op| self.is_edge(&of.right, op, &of.left))
    }

    fn is_edge(&mut self, time: &Expr, op: Operator, instant: &Expr) -> bool {
        let column = match time {
            Expr::Column(column) => column,
            Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => match &*cast.expr {
                Expr::Column(column) => column,
                _ => return false,
            },
            _ => return false,
        };
        let Some((before, after)) = edges(instant) else { return false };
        let new = match op {
            Operator::GtEq | Operator::Lt => vec![before],
            Operator::Gt | Operator::LtEq => vec![after],
            Operator::Eq | Operator::NotEq => vec![before, after],
            _ => return false,
        };
        match column.name.as_str() {
            TIME => self.times.edges.extend(new),
            RECORDED_AT => self.times.recorded.extend(new),
            _ => return false,
        }
        true
    }

    /// Whether a cast has a value for all values.
    pub(super) fn is_safe_cast(&self, from: &Expr, to: &DataType) -> bool {
        match (from.get_type(self.schema), to) {
            (Ok(from), to) if from.is_string() && to.is_string() => true,
            (Ok(DataType::Int32 | DataType::Int64), DataType::Int64) => true,
            (Ok(DataType::Int32 | DataType::Int64), DataType::Decimal128(digits, scale)) => {
                i16::from(*digits) - i16::from(*scale) >= INTEGER_DIGITS
            }
            (Ok(DataType::Decimal128(digits, scale)), DataType::Decimal128(more, finer)) => {
                finer >= &scale && i16::from(*more) - i16::from(*finer) >= i16::from(digits) - i16::from(scale)
            }
            _ => false,
        }
    }

    /// What looks at the clock, and sees no more than the hour.
    fn is_of_clock(&mut self, of: &ScalarFunction) -> bool {
        let [Expr::Literal(what, _), time] = of.args.as_slice() else { return false };
        let what_text = what.try_as_str().flatten().map(str::to_lowercase).unwrap_or_default();
        let name = if parts::NAMES.contains(&of.name()) { PART } else { of.name() };
        let (known, hourly) = match (name, what_text.as_str()) {
            ("date_trunc" | PART, "hour") => (true, true),
            ("date_trunc", "day" | "week" | "month" | "quarter" | "year") => (true, false),
            (PART, "day" | "week" | "month" | "quarter" | "year" | "dow" | "isodow" | "doy") => (true, false),
            ("date_bin", _) => match what {
                // Bins begin in 1970 in UTC, whatever the zone is.
                ScalarValue::IntervalMonthDayNano(Some(bin))
                    if bin.months == 0 && bin.days >= 0 && self.is_utc(time) =>
                {
                    let hour = HOUR_SECONDS * 1_000_000_000;
                    (bin.nanoseconds >= 0 && bin.nanoseconds % hour == 0, bin.nanoseconds % (24 * hour) != 0)
                }
                _ => (false, false),
            },
            _ => (false, false),
        };
        self.times.hourly |= hourly;
        known && self.is_clock(time)
    }

    /// Whether this is the time, put into zones whose clocks are looked at.
    fn is_clock(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Column(column) => column.name == TIME,
            Expr::Cast(cast) => match cast.field.data_type() {
                // A clock that is read again in a zone fails at times that this zone does not have.
                DataType::Timestamp(_, Some(_))
                    if matches!(cast.expr.get_type(self.schema), Ok(DataType::Timestamp(_, None))) =>
                {
                    false
                }
                DataType::Timestamp(_, zone) => self.is_clock_of(zone.clone(), &cast.expr),
                _ => false,
            },
            Expr::ScalarFunction(of) if of.name() == IN_ZONE => match of.args.as_slice() {
                [Expr::Literal(zone, _), time]
                    if matches!(time.get_type(self.schema), Ok(DataType::Timestamp(_, Some(_)))) =>
                {
                    let zone = zone.try_as_str().flatten().map(Arc::from);
                    zone.is_some() && self.is_clock_of(zone, time)
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn is_clock_of(&mut self, zone: Option<Arc<str>>, time: &Expr) -> bool {
        let zone = zone.filter(|zone| !is_utc(zone));
        // A day of another zone begins at some hour in UTC.
        self.times.hourly |= zone.is_some();
        self.times.zones.extend(zone);
        self.is_clock(time)
    }

    /// Whether this is the time in UTC and nothing else.
    fn is_utc(&self, expr: &Expr) -> bool {
        match expr.get_type(self.schema) {
            Ok(DataType::Timestamp(_, Some(zone))) => matches!(expr, Expr::Column(_)) && is_utc(&zone),
            _ => false,
        }
    }
}

/// Whether any part of a time has room in an integer.
const fn has_room(kind: &DataType) -> bool {
    matches!(kind, DataType::Int32 | DataType::Int64)
}

/// The tag that is looked at, and nothing else of a row's tags.
fn tag_named(of: &ScalarFunction) -> Option<&str> {
    match of.args.as_slice() {
        [Expr::Column(column), Expr::Literal(name, _)] if of.name() == "tag" && column.name == TAGS => {
            name.try_as_str().flatten()
        }
        _ => None,
    }
}

/// The first microsecond since 1970 that is not before an instant, and the first after it.
fn edges(instant: &Expr) -> Option<(i64, i64)> {
    let Expr::Literal(value, _) = instant else { return None };
    let (ticks, unit) = match value {
        ScalarValue::TimestampSecond(Some(ticks), _) => (*ticks, TimeUnit::Second),
        ScalarValue::TimestampMillisecond(Some(ticks), _) => (*ticks, TimeUnit::Millisecond),
        ScalarValue::TimestampMicrosecond(Some(ticks), _) => (*ticks, TimeUnit::Microsecond),
        ScalarValue::TimestampNanosecond(Some(ticks), _) => (*ticks, TimeUnit::Nanosecond),
        _ => return None,
    };
    let whole = match unit {
        TimeUnit::Second => ticks.checked_mul(1_000_000)?,
        TimeUnit::Millisecond => ticks.checked_mul(1_000)?,
        TimeUnit::Microsecond => ticks,
        TimeUnit::Nanosecond => {
            let micros = ticks.div_euclid(1_000);
            return Some((if ticks.rem_euclid(1_000) == 0 { micros } else { micros + 1 }, micros + 1));
        }
    };
    Some((whole, whole.checked_add(1)?))
}
