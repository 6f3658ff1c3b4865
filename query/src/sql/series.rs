//! `generate_series`: the engine's own, but for days and months of a zone.
//!
//! The engine takes two days, or two times of nanoseconds, and nothing between them; its series of a zone ends at what the clocks there
//! leave out, and any step leads back in which something is negative. Two days are their beginnings in the zone of the session, as in
//! Postgres, a step that leads to a time that is not there leads to the one after it, and one leads back if it is shorter than nothing, with
//! months of 30 days and days of 24 hours. Rows are made a batch at a time.
//!
//! One with parameters has its arguments in its plan, where its rows would be filtered, and so their values when it is read.

use std::{fmt, iter, sync::Arc};

use arrow::{
    array::{RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, IntervalMonthDayNano, Schema, SchemaRef, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{
        Session, TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider,
        default_table_source::source_as_provider, streaming::StreamingTable,
    },
    common::{
        DFSchema, Result, ScalarValue, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    functions_table,
    logical_expr::{Expr, ExprSchemable, LogicalPlan, TableType},
    physical_plan::{ExecutionPlan, stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::stream;
use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};

use super::{
    interval::in_units,
    lengths::{SPAN, length_of},
    moment::{clock, instant, place, shown_in},
    provider::in_memory,
};

/// `generate_series`.
pub(super) fn series() -> Arc<TableFunction> {
    let inner = functions_table::generate_series();
    Arc::new(TableFunction::new(inner.name().to_owned(), Arc::new(Series { inner })))
}

#[derive(Clone)]
struct Series {
    inner: Arc<TableFunction>,
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").finish_non_exhaustive()
    }
}

impl TableFunctionImpl for Series {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let given = args.exprs().to_vec();
        let kinds: Vec<DataType> = given.iter().take(2).filter_map(kind_of).collect();
        let own = args.session().config_options().execution.time_zone.as_deref().unwrap_or("UTC");
        let zone = zone_of(&kinds, own);
        if given.iter().any(is_awaited) {
            let of_times = matches!(given.get(2).and_then(kind_of), Some(DataType::Interval(_)));
            let zone = zone.or_else(|| of_times.then(|| Some(own.into())));
            return Ok(Arc::new(Awaited::of(self.clone(), given, zone)));
        }
        self.table(given, zone, args.session(), false)
    }
}

impl Series {
    /// That of these constants: of times of a zone, or of numbers. What it was planned as has times of microseconds.
    fn table(
        &self,
        mut given: Vec<Expr>,
        zone: Option<Option<Arc<str>>>,
        session: &dyn Session,
        is_planned: bool,
    ) -> Result<Arc<dyn TableProvider>> {
        if let Some(zone) = zone {
            if let Some(Expr::Literal(step, _)) = given.get_mut(2)
                && let Some(text) = step.try_as_str().flatten()
            {
                *step = ScalarValue::from(in_units(text).unwrap_or_else(|| text.to_owned())).cast_to(&SPAN)?;
            }
            if let [_, _, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(step)), _)] = given.as_slice()
                && length_of(*step) == 0
            {
                return plan_err!("the step of generate_series cannot be zero");
            }
            // Clocks without a zone go on as those of UTC do.
            let place = zone.as_deref().map_or(Some(TimeZone::UTC), place);
            let kind = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
            for arg in given.iter_mut().take(2) {
                let Expr::Literal(value, _) = arg else { continue };
                let time = match value.data_type() {
                    DataType::Timestamp(..) | DataType::Date32 => {
                        begun(value, place.as_ref()).or_else(|| Some(value.clone()))
                    }
                    _ => value.try_as_str().flatten().and_then(|text| match &zone {
                        Some(zone) => instant(text, zone),
                        None => clock(text),
                    }),
                };
                if let Some(time) = time {
                    *value = time.cast_to(&kind)?;
                }
            }
            if let Some(days) = place.and_then(|place| Days::of(&given, place, is_planned)) {
                return Ok(Arc::new(StreamingTable::try_new(Arc::clone(&days.schema), vec![Arc::new(days)])?));
            }
        }
        self.inner.create_table_provider_with_args(TableFunctionArgs::new(&given, session))
    }
}

/// The type of an argument, as far as that is known.
fn kind_of(arg: &Expr) -> Option<DataType> {
    arg.get_type(&DFSchema::empty()).ok().filter(|kind| !kind.is_null())
}

/// Whether an argument is reckoned from a parameter.
fn is_awaited(arg: &Expr) -> bool {
    arg.exists(|part| Ok(matches!(part, Expr::Placeholder(_)))).is_ok_and(|found| found)
}

/// A series whose parameters have no values yet.
#[derive(Debug)]
struct Awaited {
    series: Series,
    args: Vec<Expr>,
    zone: Option<Option<Arc<str>>>,
    schema: SchemaRef,
}

impl Awaited {
    /// That of these arguments. A parameter of which nothing is said is of what the others are.
    fn of(series: Series, mut args: Vec<Expr>, zone: Option<Option<Arc<str>>>) -> Self {
        let times = |zone| DataType::Timestamp(TimeUnit::Microsecond, zone);
        for (at, arg) in args.iter_mut().enumerate() {
            if let Expr::Placeholder(parameter) = arg {
                let kind = match &zone {
                    None => DataType::Int64,
                    Some(_) if at == 2 => SPAN,
                    // As the instants of tables are, beside which it may stand as well.
                    Some(zone) => times(zone.as_ref().map(|_| "UTC".into())),
                };
                parameter.field.get_or_insert_with(|| Arc::new(Field::new("", kind, true)));
            }
        }
        let kind = zone.clone().map_or(DataType::Int64, times);
        Self { series, args, zone, schema: Arc::new(Schema::new(vec![Field::new("value", kind, false)])) }
    }
}

/// A plan in which what such a series is filtered by are its arguments, until it is read.
pub(super) fn asked(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let table = source_as_provider(&scan.source).ok();
        let args = table.as_ref().and_then(|table| Some(table.downcast_ref::<Awaited>()?.args.clone()));
        let is_it = args.is_some();
        scan.filters.extend(args.into_iter().flatten());
        Ok(Transformed::new_transformed(LogicalPlan::TableScan(scan), is_it))
    })?;
    Ok(plan.data)
}

#[async_trait]
impl TableProvider for Awaited {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// No condition is brought here, and so the arguments are all that there is.
    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        args: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut given = args.to_vec();
        for arg in &mut given {
            match arg {
                Expr::Literal(value, _) if value.is_null() => {
                    let nothing = in_memory(RecordBatch::new_empty(self.schema()))?;
                    return nothing.scan(session, projection, &[], limit).await;
                }
                Expr::Literal(value, _) if value.data_type().is_integer() => {
                    *value = value.cast_to(&DataType::Int64)?;
                }
                _ => {}
            }
        }
        let table = self.series.table(given, self.zone.clone(), session, true)?;
        table.scan(session, projection, &[], limit).await
    }
}

/// The zone of a series of times, which may have none; nothing where it is of numbers. Days have that of the session, which is `own`.
fn zone_of(kinds: &[DataType], own: &str) -> Option<Option<Arc<str>>> {
    let zones = || {
        kinds.iter().filter_map(|kind| match kind {
            DataType::Timestamp(_, zone) => Some(zone.clone()),
            _ => None,
        })
    };
    let of_days = || kinds.contains(&DataType::Date32).then(|| Some(own.into()));
    zones().find(Option::is_some).or_else(|| zones().next()).or_else(of_days)
}

/// The instant at which the clocks of a place show a time, or a day begins; nothing of an instant.
fn begun(value: &ScalarValue, place: Option<&TimeZone>) -> Option<ScalarValue> {
    if matches!(value.data_type(), DataType::Timestamp(_, Some(_))) {
        return None;
    }
    let clock = value.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?;
    let ScalarValue::TimestampMicrosecond(Some(micros), None) = clock else { return None };
    let clock = Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::UTC).datetime();
    let instant = shown_in(clock, place?)?;
    Some(ScalarValue::TimestampMicrosecond(Some(instant.as_microsecond()), Some("UTC".into())))
}

/// A series of instants, or of what clocks show, by the days and months of a place.
#[derive(Clone, Debug)]
struct Days {
    schema: SchemaRef,
    place: TimeZone,
    first: Timestamp,
    last: Timestamp,
    step: IntervalMonthDayNano,
}

impl Days {
    /// That of these arguments; nothing where its step is of hours alone, which the engine adds up right, unless `any` is, or it is none.
    fn of(given: &[Expr], place: TimeZone, any: bool) -> Option<Self> {
        use ScalarValue::{IntervalMonthDayNano, TimestampNanosecond};
        let [
            Expr::Literal(TimestampNanosecond(Some(first), zone), _),
            Expr::Literal(TimestampNanosecond(Some(last), _), _),
            Expr::Literal(IntervalMonthDayNano(Some(step)), _),
        ] = given
        else {
            return None;
        };
        let instant = |nanos: i64| Timestamp::from_nanosecond(nanos.into()).ok();
        let kind = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let schema = Arc::new(Schema::new(vec![Field::new("value", kind, false)]));
        let days = Self { schema, place, first: instant(*first)?, last: instant(*last)?, step: *step };
        (any || step.months != 0 || step.days != 0).then_some(days)
    }

    /// Whether the series is over before this instant.
    fn is_past(&self, at: Timestamp) -> bool {
        if length_of(self.step) < 0 { at < self.last } else { at > self.last }
    }

    fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let clock = at.to_zoned(self.place.clone()).datetime();
        let clock = clock.checked_add(Span::new().try_months(self.step.months).ok()?).ok()?;
        let clock = clock.checked_add(Span::new().try_days(self.step.days).ok()?).ok()?;
        let instant = shown_in(clock, &self.place)?;
        instant.checked_add(SignedDuration::from_nanos(self.step.nanoseconds)).ok()
    }

    /// As many instants as a batch has rows, from the next one on; nothing where none is left.
    fn batch(&self, next: &mut Option<Timestamp>, rows: usize) -> Option<Result<RecordBatch>> {
        let mut micros = Vec::new();
        while micros.len() < rows {
            let Some(at) = next.filter(|at| !self.is_past(*at)) else { break };
            micros.push(at.as_microsecond());
            *next = self.after(at);
        }
        if micros.is_empty() {
            return None;
        }
        let kind = self.schema.fields().first()?.data_type().clone();
        let instants = TimestampMicrosecondArray::from(micros).with_data_type(kind);
        Some(RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(instants)]).map_err(Into::into))
    }
}

impl PartitionStream for Days {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (days, rows, mut next) = (self.clone(), context.session_config().batch_size(), Some(self.first));
        let batches = stream::iter(iter::from_fn(move || days.batch(&mut next, rows)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
