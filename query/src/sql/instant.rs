//! Moments as people write them, read as Postgres reads them: in the zone of the session, where they name none.
//!
//! What is compared with an instant, or becomes one beside it (in `greatest`, `coalesce`, the branches of a `CASE`, a union), or stands beside
//! one in a difference, or where bins of instants begin, and has no zone (a text, a date, a time of the clock) is of the session's zone, as
//! the days and hours that the session sees are ([`zone`](super::reading::zone)). Where
//! there is no session, as over HTTP, it is of the zone that the instant was put into, as the instant's days are. Beside that, seconds may be left
//! out, `epoch` is a moment, `today` a day, and `to_char`, `to_timestamp` and `to_date` take the formats of Postgres ([`pattern`](super::pattern)). A text that is no moment is left
//! to the engine, which says so.

use std::{mem, sync::Arc};

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    functions::datetime::{current_date, now, to_local_time},
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, Operator, binary_expr,
        expr::{Case, ScalarFunction},
        expr_rewriter::FunctionRewrite,
        lit,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};
use jiff::tz::TimeZone;

use super::{
    beside::is_comparison,
    clock,
    error::refused,
    moment::{Written, day, micros, place, shown_in, written},
    pattern, reads, shifted,
    trunc::is_utc,
};

/// Reads what has no zone.
#[derive(Debug)]
pub(super) struct Instants {
    /// The session's.
    zone: Arc<str>,
    /// Its clocks.
    place: Option<TimeZone>,
    /// Whether there is a session, in which Postgres knows no other zone.
    in_session: bool,
}

impl Instants {
    /// In the zone of a session; in UTC if it has none, or there is no session.
    pub(super) fn of(zone: Option<Arc<str>>, in_session: bool) -> Self {
        let place = zone.as_deref().map_or(Some(TimeZone::UTC), place);
        Self { zone: zone.unwrap_or_else(|| "UTC".into()), place, in_session }
    }

    /// What reads in the zone of an instant, where that is not this one's.
    fn within(&self, kind: &DataType) -> Option<Self> {
        let DataType::Timestamp(_, Some(zone)) = kind else { return None };
        let is_other = !self.in_session && !is_utc(zone) && *zone != self.zone;
        is_other.then(|| Self::of(Some(Arc::clone(zone)), false))
    }

    /// What stands beside an instant of type `kind`, as one; nothing if it is one already, or anything else.
    fn beside(&self, expr: &Expr, kind: &DataType, schema: &DFSchema) -> Result<Option<Expr>> {
        if let Some(within) = self.within(kind) {
            return within.beside(expr, kind, schema);
        }
        if let Some(text) = text_of(expr) {
            return Ok(moment(text).and_then(|moment| self.instant(moment, kind)));
        }
        if let Expr::Cast(cast) = expr
            && let Some(text) = text_of(&cast.expr)
            && let Some(moment) = moment(text).filter(|_| self.zone.as_ref() != "UTC")
        {
            let moment = match (cast.field.data_type(), moment.ahead) {
                (DataType::Date32, None) => Some(Written { clock: moment.clock.date().into(), ahead: None }),
                (DataType::Timestamp(_, None), None) => Some(moment),
                _ => None,
            };
            if let Some(instant) = moment.and_then(|moment| self.instant(moment, kind)) {
                return Ok(Some(instant));
            }
        }
        // In UTC the engine reads these as instants by itself.
        let clock = DataType::Timestamp(TimeUnit::Microsecond, None);
        let clocked = match expr.get_type(schema) {
            _ if self.zone.as_ref() == "UTC" => return Ok(None),
            Ok(DataType::Timestamp(_, None)) => expr.clone(),
            Ok(DataType::Date32 | DataType::Date64) => Expr::Cast(Cast::new(Box::new(expr.clone()), clock)),
            // Of what has no type yet nothing is known.
            _ => return Ok(None),
        };
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&self.zone)));
        let cast = || Expr::Cast(Cast::new(Box::new(clocked.clone()), zoned));
        Ok(Some(clock::at_zone(clocked.clone(), &self.zone).unwrap_or_else(cast)))
    }

    /// What stands beside an instant of type `kind`, or beside what clocks show, as one of them, where it is not of that type already. What
    /// becomes one is an instant in UTC, too: of a day and an instant the engine would make what clocks show.
    pub(super) fn settled(
        &self,
        side: &Expr,
        kind: &DataType,
        becomes: bool,
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        if let Some(said) = text_of(side).and_then(|word| self.said(word, kind)) {
            return Ok(Some(self.settled(&said, kind, becomes, schema)?.unwrap_or(said)));
        }
        if is_day(kind) {
            return Ok(None);
        }
        if is_clock(kind) {
            return Ok(shown(side, kind));
        }
        if let Some(instant) = self.beside(side, kind, schema)? {
            return Ok(Some(instant));
        }
        let has_no_zone = || {
            let kind = side.get_type(schema);
            matches!(kind, Ok(DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64))
        };
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Ok((becomes && has_no_zone()).then(|| Expr::Cast(Cast::new(Box::new(side.clone()), utc))))
    }

    /// The same of all that stands beside each other; whether something had to be done.
    fn settle(&self, sides: Vec<&mut Expr>, becomes: bool, schema: &DFSchema) -> Result<bool> {
        let of = |is_it: fn(&DataType) -> bool| sides.iter().find_map(|side| side.get_type(schema).ok().filter(is_it));
        let Some(kind) = of(is_instant).or_else(|| of(is_clock)).or_else(|| of(is_day)) else { return Ok(false) };
        let mut changed = false;
        for side in sides {
            if let Some(instant) = self.settled(side, &kind, becomes, schema)? {
                (*side, changed) = (instant, true);
            }
        }
        Ok(changed)
    }

    /// The same of a `CASE`: what it compares, and what it gives.
    fn branches(&self, of: &mut Case, schema: &DFSchema) -> Result<bool> {
        let (mut compared, mut given): (Vec<&mut Expr>, Vec<&mut Expr>) = (Vec::new(), Vec::new());
        for (when, then) in &mut of.when_then_expr {
            compared.push(when);
            given.push(then);
        }
        given.extend(of.else_expr.as_deref_mut());
        let Some(base) = of.expr.as_deref_mut() else { return self.settle(given, true, schema) };
        compared.push(base);
        let is_compared = self.settle(compared, false, schema)?;
        Ok(self.settle(given, true, schema)? || is_compared)
    }

    /// A day by a word that is read when the question is, and so now beside an instant.
    fn said(&self, word: &str, kind: &DataType) -> Option<Expr> {
        let days = match word.trim().to_lowercase().as_str() {
            "yesterday" => -1,
            "today" => 0,
            "tomorrow" => 1,
            "now" if is_instant(kind) => {
                let mut config = ConfigOptions::default();
                config.execution.time_zone = Some(self.zone.to_string());
                return Some(now(&config).call(Vec::new()));
            }
            _ => return None,
        };
        let days = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, days, 0)));
        let day = binary_expr(current_date().call(Vec::new()), Operator::Plus, lit(days));
        Some(Expr::Cast(Cast::new(Box::new(day), DataType::Date32)))
    }

    /// A moment as a constant of a type.
    fn instant(&self, moment: Written, kind: &DataType) -> Option<Expr> {
        let micros = moment.micros(|clock| Some(shown_in(clock, self.place.as_ref()?)?.as_microsecond()))?;
        let value = ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
        Some(lit(value.cast_to(kind).ok()?))
    }
}

impl Instants {
    /// Makes an instant of what has no zone in a difference with one; whether there was such a thing. The right side is asked first: a
    /// chain is long on the left.
    fn between(&self, of: &mut BinaryExpr, schema: &DFSchema) -> Result<bool> {
        use DataType::{Date32, Date64, Timestamp};
        let Ok(second @ (Date32 | Date64 | Timestamp(..))) = of.right.get_type(schema) else { return Ok(false) };
        let Ok(first) = of.left.get_type(schema) else { return Ok(false) };
        let (side, kind) = match (&first, &second) {
            (Timestamp(_, Some(_)), Timestamp(_, Some(_))) => return Ok(false),
            (Timestamp(_, Some(_)), _) => (&mut of.right, &first),
            (Date32 | Date64 | Timestamp(..), Timestamp(_, Some(_))) => (&mut of.left, &second),
            _ => return Ok(false),
        };
        let Some(instant) = self.beside(side, kind, schema)? else { return Ok(false) };
        **side = instant;
        Ok(true)
    }

    /// A text that is cast to an instant of the session's zone, as one.
    fn written(&self, cast: &Cast) -> Option<Expr> {
        let kind = cast.field.data_type();
        let DataType::Timestamp(_, Some(zone)) = kind else { return None };
        let clock = moment(text_of(&cast.expr)?).filter(|moment| moment.ahead.is_none())?;
        if *zone == self.zone { self.instant(clock, kind) } else { None }
    }
}

/// A text that a time is taken from, or that is taken from one, is such a time as well. The engine would not know what it is.
impl ExprPlanner for Instants {
    fn plan_binary_op(&self, mut of: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (time, text) = match (text_of(&of.left), text_of(&of.right)) {
            (None, Some(_)) if of.op == BinaryOperator::Minus => (&of.left, &mut of.right),
            (Some(_), None) if of.op == BinaryOperator::Minus => (&of.right, &mut of.left),
            _ => return Ok(PlannerResult::Original(of)),
        };
        let read = match time.get_type(schema) {
            Ok(kind @ DataType::Timestamp(..)) => self.settled(text, &kind, false, schema)?,
            Ok(DataType::Date32) => text_of(text).and_then(day).map(lit),
            _ => None,
        };
        if let Some(read) = read {
            *text = read;
        }
        Ok(PlannerResult::Original(of))
    }
}

/// The functions that give one of their arguments, which are all of one type. Of `nullif` only the first is.
const CHOOSE: &[&str] = &["coalesce", "greatest", "least", "nullif", "nvl"];

/// The functions that make an instant of seconds since 1970.
const COUNTED: &[&str] = &["to_timestamp", FROM_UNIXTIME];

const FROM_UNIXTIME: &str = "from_unixtime";

/// Makes an instant of a number of seconds; whether something had to be done. Of a whole one the engine would make a time without a zone,
/// and the one function reads such a time in the zone of the session again; of others it cuts what is finer than its own units, so that of
/// a float it may make the microsecond before.
fn counted(call: &mut ScalarFunction, schema: &DFSchema) -> bool {
    if call.func.name() == FROM_UNIXTIME {
        call.args.push(lit("UTC"));
        return true;
    }
    let [seconds] = call.args.as_mut_slice() else { return false };
    let scale = match seconds.get_type(schema) {
        Ok(kind) if kind.is_integer() => 0,
        Ok(kind) if kind.is_floating() => MICROS,
        Ok(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) if scale > MICROS => MICROS,
        _ => return false,
    };
    let kind = DataType::Decimal128(20, scale);
    *seconds = Expr::Cast(Cast::new(Box::new(mem::take(seconds)), kind));
    true
}

/// The decimals of a second that instants have.
const MICROS: i8 = 6;

/// What clocks show, or a day, read as an instant of a zone.
fn read_again(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let kind = cast.field.data_type();
    let DataType::Timestamp(_, Some(zone)) = kind else { return None };
    let is_clock =
        matches!(cast.expr.get_type(schema), Ok(DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64));
    let instants = clock::at_zone(cast.expr.as_ref().clone(), zone).filter(|_| is_clock && !is_utc(zone))?;
    Some(Expr::Cast(Cast::new(Box::new(instants), kind.clone())))
}

/// An instant that was put into a zone and is cast to a time without one: what the clocks there show. The engine takes those of UTC.
fn shown_there(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let kind = cast.field.data_type();
    let Ok(DataType::Timestamp(_, Some(zone))) = cast.expr.get_type(schema) else { return None };
    if !is_clock(kind) || is_utc(&zone) {
        return None;
    }
    let instant = cast.expr.as_ref();
    let shown = clock::at_zone(instant.clone(), &zone).unwrap_or_else(|| to_local_time().call(vec![instant.clone()]));
    Some(Expr::Cast(Cast::new(Box::new(shown), kind.clone())))
}

impl FunctionRewrite for Instants {
    fn name(&self) -> &'static str {
        "instants"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let changed = match &mut expr {
            Expr::BinaryExpr(of) if is_comparison(of.op) => {
                self.settle(vec![of.left.as_mut(), of.right.as_mut()], false, schema)?
            }
            Expr::BinaryExpr(of) if of.op == Operator::Minus => self.between(of, schema)?,
            Expr::Between(of) => {
                self.settle(vec![of.expr.as_mut(), of.low.as_mut(), of.high.as_mut()], false, schema)?
            }
            Expr::InList(of) => {
                self.settle(std::iter::once(of.expr.as_mut()).chain(&mut of.list).collect(), false, schema)?
            }
            Expr::Case(of) => self.branches(of, schema)?,
            Expr::ScalarFunction(call) if CHOOSE.contains(&call.func.name()) => {
                self.settle(call.args.iter_mut().collect(), true, schema)?
            }
            Expr::WindowFunction(of) if shifted::NAMES.contains(&of.fun.name()) => {
                match of.params.args.as_mut_slice() {
                    [value, _, default] => self.settle(vec![value, default], true, schema)?,
                    _ => false,
                }
            }
            Expr::Cast(cast) => {
                let read = self.written(cast).or_else(|| spelled_out(cast)).or_else(|| read_again(cast, schema));
                let read = read.or_else(|| shown_there(cast, schema));
                return Ok(read.map_or(Transformed::no(expr), Transformed::yes));
            }
            Expr::ScalarFunction(call) if call.func.name() == "date_bin" => {
                let [_, time, origin] = call.args.as_mut_slice() else { return Ok(Transformed::no(expr)) };
                let Ok(DataType::Timestamp(_, zone @ Some(_))) = time.get_type(schema) else {
                    return Ok(Transformed::no(expr));
                };
                // The engine takes no coarser beginning.
                let kind = DataType::Timestamp(TimeUnit::Nanosecond, zone);
                let Some(begin) = self.beside(origin, &kind, schema)? else { return Ok(Transformed::no(expr)) };
                *origin = begin;
                return Ok(Transformed::yes(expr));
            }
            Expr::ScalarFunction(call) if call.func.name() == "age" => {
                let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
                let mut changed = false;
                for arg in &mut call.args {
                    if let Some(clock) = shown(arg, &kind) {
                        (*arg, changed) = (clock, true);
                    }
                }
                changed
            }
            Expr::ScalarFunction(call) if call.func.name() == "to_char" => {
                let Some(format) = call.args.get_mut(1) else { return Ok(Transformed::no(expr)) };
                return match text_of(format).map(pattern::of_postgres) {
                    None | Some(Ok(None)) => Ok(Transformed::no(expr)),
                    Some(Ok(Some(like))) => {
                        *format = lit(like);
                        Ok(Transformed::yes(expr))
                    }
                    Some(Err(why)) => refused(why),
                };
            }
            Expr::ScalarFunction(call) if call.args.len() == 1 && COUNTED.contains(&call.func.name()) => {
                counted(call, schema)
            }
            Expr::ScalarFunction(call) if reads::NAMES.contains(&call.func.name()) => {
                let read = reads::instead(call, &self.zone)?;
                return Ok(read.map_or(Transformed::no(expr), Transformed::yes));
            }
            _ => false,
        };
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

const fn is_instant(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, Some(_)))
}

const fn is_clock(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, None))
}

const fn is_day(kind: &DataType) -> bool {
    matches!(kind, DataType::Date32)
}

/// A text that stands beside what clocks show, as a time of theirs.
fn shown(expr: &Expr, kind: &DataType) -> Option<Expr> {
    let Written { clock, ahead: None } = moment(text_of(expr)?)? else { return None };
    ScalarValue::TimestampMicrosecond(Some(micros(clock)?), None).cast_to(kind).ok().map(lit)
}

/// A moment as it is written, or the beginning of 1970.
fn moment(text: &str) -> Option<Written> {
    written(if is_epoch(text.trim()) { EPOCH } else { text })
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

const EPOCH: &str = "1970-01-01T00:00:00Z";

/// What Postgres calls the beginning of 1970 in UTC.
fn is_epoch(text: &str) -> bool {
    text.eq_ignore_ascii_case("epoch")
}

/// A cast to a time of a text without seconds, or of a name, as the engine wants it written.
fn spelled_out(cast: &Cast) -> Option<Expr> {
    let text = text_of(&cast.expr).filter(|_| matches!(cast.field.data_type(), DataType::Timestamp(..)))?;
    Some(Expr::Cast(Cast::new(Box::new(lit(spelled(text)?)), cast.field.data_type().clone())))
}

/// A text without seconds, or a name, that the engine knows no time by, with these; nothing of others.
pub(super) fn spelled(text: &str) -> Option<String> {
    let text = text.trim();
    if is_epoch(text) {
        return Some(EPOCH.to_owned());
    }
    let (minutes, rest) = text.split_at_checked("2026-11-01 00:00".len())?;
    let colon = minutes.get(13..14) == Some(":") && !rest.starts_with(':');
    moment(text).filter(|_| colon)?;
    Some(format!("{minutes}:00{rest}"))
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn what_names_no_zone_is_a_time_of_the_clock() {
        let check = |text: &str, wanted: Option<(&str, Option<i64>)>| {
            let got = moment(text).map(|moment| (moment.clock.to_string(), moment.ahead));
            assert_eq!(got, wanted.map(|(clock, ahead)| (clock.to_owned(), ahead)), "{text}");
        };
        check("2026-10-25", Some(("2026-10-25T00:00:00", None)));
        check("2026-10-25 05:00", Some(("2026-10-25T05:00:00", None)));
        check("2026-10-25T05:00:30.5", Some(("2026-10-25T05:00:30.5", None)));
        check("2026-10-25T05:00:00Z", Some(("2026-10-25T05:00:00", Some(0))));
        check("2026-10-25 05:00:00+02", Some(("2026-10-25T05:00:00", Some(7_200))));
        check("2026-10-25-07", Some(("2026-10-25T00:00:00", Some(-25_200))));
        check(" Epoch ", Some(("1970-01-01T00:00:00", Some(0))));
        for other in ["", "tomorrow", "2026-13-01", "20261025", "2026-10-25 CEST"] {
            check(other, None);
        }
    }
}
