//! A question as it comes from a surface: the statement, what its session says of how to read it, and the values of its parameters.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::{
    common::{
        DFSchema, Result as EngineResult, ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, ExprSchemable, LogicalPlan, expr::Placeholder, utils::merge_schema},
};

use super::{
    QueryError,
    functions::MAX_SCALAR_BYTES,
    lengths::SPAN,
    reading::{Reading, parameters},
    shifted,
    statement::NUL,
    steps,
    typed::NUMERIC,
};

/// The most parameters of a statement.
const MAX_PARAMETERS: usize = 1_000;

/// Makes the values of parameters, by the types that they are known to have, and the zone of what is written without one.
type Bind = Box<dyn FnOnce(&[Option<DataType>], &str) -> Result<Vec<ScalarValue>, QueryError> + Send>;

/// A question.
pub(crate) struct Question {
    /// One statement.
    pub(crate) sql: String,
    /// How it is read, where that is not as it stands.
    pub(crate) reading: Option<Arc<Reading>>,
    /// How long it may take, if that is less than any may.
    pub(crate) within: Option<Duration>,
    /// Whether rollups may be read in the place of rows. The answer is the same.
    pub(crate) rollups: bool,
    bind: Option<Bind>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("sql", &self.sql).field("reading", &self.reading).finish_non_exhaustive()
    }
}

impl Question {
    /// A statement without parameters, read as it stands.
    pub(crate) fn plain(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), reading: None, within: None, rollups: true, bind: None }
    }

    /// The same, read as a session says.
    pub(crate) fn read(self, reading: Arc<Reading>) -> Self {
        Self { reading: Some(reading), ..self }
    }

    /// The same with a time of its own.
    pub(crate) fn within(self, within: Option<Duration>) -> Self {
        Self { within, ..self }
    }

    /// The same by rollups where they know what is asked, or by rows alone.
    pub(crate) fn rollups(self, rollups: bool) -> Self {
        Self { rollups, ..self }
    }

    /// The same with values for its parameters.
    pub(crate) fn with(
        self,
        bind: impl FnOnce(&[Option<DataType>], &str) -> Result<Vec<ScalarValue>, QueryError> + Send + 'static,
    ) -> Self {
        Self { bind: Some(Box::new(bind)), ..self }
    }

    /// Whether values came for its parameters.
    pub(super) const fn is_bound(&self) -> bool {
        self.bind.is_some()
    }

    /// The plan with the values in it, those that are written without a zone as of `zone`.
    pub(super) fn bound(self, plan: LogicalPlan, zone: &str) -> Result<LogicalPlan, QueryError> {
        // Only values of a session may have no type of their own: others are cast as they came.
        let types = match self.reading.as_deref() {
            Some(reading) => described(&plan, Some(reading))?,
            None => parameters(&plan)?,
        };
        let Some(bind) = self.bind else {
            if types.is_empty() {
                return Ok(plan);
            }
            return Err(QueryError::Invalid("the statement has parameters, and no values came for them".into()));
        };
        let values = bind(&types, zone)?;
        let given = values.len();
        if given < types.len() {
            let wanted = types.len();
            return Err(QueryError::Invalid(format!("the statement has {wanted} parameters; {given} values came")));
        }
        let texts = || values.iter().filter_map(|value| value.try_as_str().flatten());
        if texts().any(|text| text.contains('\0')) {
            return Err(QueryError::Invalid(NUL.into()));
        }
        if texts().any(|text| text.len() as u128 > MAX_SCALAR_BYTES) {
            return Err(QueryError::Refused(format!("the value of a parameter may be {MAX_SCALAR_BYTES} bytes long")));
        }
        Ok(plan.with_param_values(values)?)
    }
}

/// A plan in which a parameter that stands beside numbers of several types is of the first of them, as in Postgres. The engine would refuse it.
pub(super) fn agreed(plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    let mut first = HashMap::<String, FieldRef>::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::Placeholder(Placeholder { id, field: Some(field) }) = part {
                    first.entry(id.clone()).or_insert_with(|| Arc::clone(field));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let as_first = |part: &Expr| {
        let Expr::Placeholder(Placeholder { id, field: Some(field) }) = part else { return None };
        let known = first.get(id)?;
        let (first, kind) = (known.data_type(), field.data_type());
        let is_other = first != kind && first.is_numeric() && kind.is_numeric();
        is_other.then(|| Expr::Placeholder(Placeholder { id: id.clone(), field: Some(Arc::clone(known)) }))
    };
    steps::each(plan, |node, _| steps::replaced(node, as_first))
}

/// By number, the types of a plan's parameters, as far as they are known.
fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, QueryError> {
    let mut types = Vec::new();
    let mut known = plan.get_parameter_types()?;
    // What says how many rows there are is a number; the engine knows no type of it.
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Limit(limit) = node else { return Ok(TreeNodeRecursion::Continue) };
        for count in limit.skip.iter().chain(&limit.fetch) {
            if let Expr::Placeholder(parameter) = &**count
                && let Some(kind) = known.get_mut(&parameter.id)
            {
                kind.get_or_insert(DataType::Int64);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    for (name, kind) in known {
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number.filter(|number| (1..=MAX_PARAMETERS).contains(number)) else {
            return Err(QueryError::Invalid(format!("{name} is no parameter: they are $1 to ${MAX_PARAMETERS}")));
        };
        if types.len() < number {
            types.resize(number, None);
        }
        if let Some(slot) = types.get_mut(number - 1) {
            *slot = kind;
        }
    }
    Ok(types)
}

/// The same as clients are told, who give a value that type: where nothing else is known of one, and its client did not say it, it has the
/// type that it is first cast to, or that of the place where it stands.
pub(super) fn described(plan: &LogicalPlan, reading: Option<&Reading>) -> Result<Vec<Option<DataType>>, QueryError> {
    let mut types = parameters(plan)?;
    if types.iter().all(Option::is_some) {
        return Ok(types);
    }
    let given = |at: usize| reading.is_some_and(|reading| reading.parameters.get(at).is_some_and(Option::is_some));
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                for (of, kind) in placed(part, &schema) {
                    if let Some(at) = place(of)
                        && let Some(slot) = types.get_mut(at).filter(|_| !given(at))
                    {
                        slot.get_or_insert(kind);
                    }
                }
                // What one place knows the engine forgets where a later one does not.
                if let Expr::Placeholder(parameter) = part
                    && let (Some(field), Some(at)) = (&parameter.field, place(part))
                    && let Some(slot) = types.get_mut(at).filter(|_| given(at))
                {
                    slot.get_or_insert_with(|| field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// Where a parameter stands among its statement's.
fn place(of: &Expr) -> Option<usize> {
    match of {
        Expr::Placeholder(parameter) => parameters::place(&parameter.id),
        _ => None,
    }
}

/// Parts of an expression that are of a type because of where they stand.
fn placed<'a>(expr: &'a Expr, schema: &DFSchema) -> Vec<(&'a Expr, DataType)> {
    match expr {
        Expr::Cast(cast) => vec![(cast.expr.as_ref(), of_cast(cast.field.data_type()))],
        Expr::Case(case) if case.expr.is_none() => {
            case.when_then_expr.iter().map(|(when, _)| (when.as_ref(), DataType::Boolean)).collect()
        }
        Expr::Not(of) => vec![(of.as_ref(), DataType::Boolean)],
        Expr::Between(of) => {
            let mut beside = [&of.low, &of.high].into_iter().filter(|side| !matches!(***side, Expr::Placeholder(_)));
            let kind = beside.find_map(|side| side.get_type(schema).ok());
            kind.map(|kind| (of.expr.as_ref(), kind)).into_iter().collect()
        }
        Expr::WindowFunction(of) => {
            let (name, args) = (of.fun.name(), of.params.args.as_slice());
            let kind = args.first().filter(|_| shifted::NAMES.contains(&name)).and_then(|of| beside([of], schema));
            arguments(name, args, kind.as_ref())
        }
        Expr::ScalarFunction(call) => {
            let (name, args) = (call.func.name(), call.args.as_slice());
            let kind = match (name, args) {
                // Of a text the engine reads a moment; seconds are what the function takes in Postgres.
                ("to_timestamp", [_]) => Some(DataType::Float64),
                ("date_bin", [_, time, ..]) => beside([time], schema),
                ("mod", args) => args.iter().find_map(|arg| number(arg.get_type(schema).ok()?)),
                ("log" | "round" | "trunc", [_, _]) => Some(NUMERIC),
                _ if ALIKE.contains(&name) => beside(args, schema),
                _ if NUMBERS.split(' ').any(|known| known == name) => Some(float_or_decimal(args, schema)),
                _ => None,
            };
            arguments(name, args, kind.as_ref())
        }
        _ => Vec::new(),
    }
}

/// The arguments of a function whose types are known: by where they stand, and all others by `kind`.
fn arguments<'a>(name: &str, args: &'a [Expr], kind: Option<&DataType>) -> Vec<(&'a Expr, DataType)> {
    let own = |at: usize| {
        let found = PLACED.iter().find(|(known, places, _)| *known == name && places.contains(&at));
        found.map(|(.., kind)| kind)
    };
    args.iter().enumerate().filter_map(|(at, arg)| Some((arg, own(at).or(kind)?.clone()))).collect()
}

/// The functions whose arguments are all of one type.
const ALIKE: &[&str] = &["age", "coalesce", "greatest", "least", "nullif", "nvl"];

/// The functions of floats and of decimals.
const NUMBERS: &str = "abs acos asin atan atan2 cbrt ceil cos degrees exp floor ln log log10 power radians round signum sin sqrt tan trunc \
                       width_bucket";

/// The type that a parameter has among these, which is that of the first of them that has one.
fn beside<'a>(all: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Option<DataType> {
    let kind = all.into_iter().find_map(|of| of.get_type(schema).ok().filter(|kind| !kind.is_null()))?;
    Some(number(kind.clone()).unwrap_or_else(|| of_cast(&kind)))
}

/// What a number is among these, of which Postgres takes floats before decimals, and either before integers.
fn float_or_decimal(all: &[Expr], schema: &DFSchema) -> DataType {
    let is_any = |is_it: fn(&DataType) -> bool| all.iter().any(|of| of.get_type(schema).is_ok_and(|kind| is_it(&kind)));
    let is_decimal = is_any(DataType::is_decimal) && !is_any(DataType::is_floating);
    if is_decimal { NUMERIC } else { DataType::Float64 }
}

/// By function, which of its arguments are of a type wherever it is called.
static PLACED: &[(&str, &[usize], DataType)] = &[
    ("chr", &[0], DataType::Int32),
    ("date", &[0], DataType::Date32),
    ("date_bin", &[0], SPAN),
    ("lag", &[1], DataType::Int64),
    ("lead", &[1], DataType::Int64),
    ("left", &[1], DataType::Int64),
    ("lpad", &[1], DataType::Int64),
    ("make_date", &[0, 1, 2], DataType::Int32),
    ("make_timestamp", &[0, 1, 2, 3, 4], DataType::Int32),
    ("make_timestamp", &[5], DataType::Float64),
    ("ntile", &[0], DataType::Int32),
    ("repeat", &[1], DataType::Int64),
    ("right", &[1], DataType::Int64),
    ("round", &[1], DataType::Int32),
    ("rpad", &[1], DataType::Int64),
    ("split_part", &[2], DataType::Int64),
    ("substr", &[1, 2], DataType::Int64),
    ("timezone", &[0], DataType::Utf8),
    ("trunc", &[1], DataType::Int32),
    ("width_bucket", &[3], DataType::Int32),
];

/// What a number is beside one of this type; nothing where that is none.
fn number(beside: DataType) -> Option<DataType> {
    match beside {
        kind if kind.is_decimal() => Some(NUMERIC),
        kind if kind.is_numeric() => Some(kind),
        _ => None,
    }
}

/// What a value is that is cast to a type: in an array the ones within, and an instant as fine as clients have it, so that any year fits.
fn of_cast(kind: &DataType) -> DataType {
    match kind {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => of.data_type().clone(),
        kind => kind.clone(),
    }
}
