//! What adds up over rows of a rollup to what it does over the rows that they stand for.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, DFSchema, Result, ScalarValue},
    logical_expr::{
        Expr, ExprSchemable,
        expr::{AggregateFunction, Case, Cast},
    },
};

use super::alike::Alike;
use crate::{
    rollup::{self, ROWS},
    sql::{exact, percentile},
    table::Kind,
};

/// Aggregates that look at each value once, however often it comes and in which order.
const ONCE: &[&str] = &["min", "max", "bool_and", "bool_or", "approx_distinct"];

/// What a percentile is asked by.
const PERCENTILE: &str = "approx_percentile_cont";

/// An aggregate over rows of a rollup.
pub(super) struct Added {
    /// What it is over them.
    pub(super) over: Expr,
    /// Whether nothing is zero, as of what is counted, and not NULL.
    counted: bool,
}

impl Added {
    /// The same under the name of its place.
    pub(super) fn named(self, number: usize) -> Self {
        Self { over: self.over.alias(format!("value {number}")), ..self }
    }

    /// What the column of the aggregate comes to.
    pub(super) fn finished(&self, column: Expr, schema: &DFSchema) -> Result<Expr> {
        if !self.counted {
            return Ok(column);
        }
        let none = ScalarValue::Int64(Some(0)).cast_to(&column.get_type(schema)?)?;
        let known = (Box::new(Expr::IsNotNull(Box::new(column.clone()))), Box::new(column));
        Ok(Expr::Case(Case::new(None, vec![known], Some(Box::new(Expr::Literal(none, None))))))
    }
}

/// The same aggregate over rows of a rollup; nothing where it needs rows.
pub(super) fn added(of: &Expr, alike: &mut Alike<'_>) -> Result<Option<Added>> {
    let Expr::AggregateFunction(of) = of else { return Ok(None) };
    let params = &of.params;
    if params.null_treatment.is_some() || !params.filter.as_ref().is_none_or(|filter| alike.is(filter)) {
        return Ok(None);
    }
    if of.func.name() == PERCENTILE {
        return Ok(percentile_of(of, alike).map(|over| Added { over, counted: false }));
    }
    if !params.order_by.is_empty() {
        return Ok(None);
    }
    let counted = of.func.name() == "count" && !params.distinct;
    let argument = match (of.func.name(), params.args.as_slice()) {
        ("sum", [arg]) if !params.distinct => sum_of(arg, &scale(arg, alike)?, alike)?,
        ("count", [arg]) if counted => count_of(arg, alike),
        ("count", args) if params.distinct => {
            return Ok(args
                .iter()
                .all(|arg| alike.is(arg))
                .then(|| Added { over: Expr::AggregateFunction(of.clone()), counted: false }));
        }
        (name, args) if ONCE.contains(&name) && args.iter().all(|arg| alike.is(arg)) => {
            return Ok(Some(Added { over: Expr::AggregateFunction(of.clone()), counted: false }));
        }
        _ => None,
    };
    Ok(argument.map(|argument| {
        let mut sum = AggregateFunction { func: exact::sum(), params: params.clone() };
        sum.params.args = vec![argument];
        Added { over: Expr::AggregateFunction(sum), counted }
    }))
}

/// An aggregate over sums as one over rows of a rollup; nothing where their groups make a difference. A sum of sums is the sum of all; `grouped`
/// says that it is of some.
pub(super) fn summed(of: &Expr, alike: &mut Alike<'_>, grouped: bool) -> Result<Option<Added>> {
    let Expr::AggregateFunction(of) = of else { return Ok(None) };
    let of_sums = match (of.func.name(), of.params.args.as_slice()) {
        ("sum", [arg]) if !of.params.distinct => arg,
        _ if of.params.distinct || ONCE.contains(&of.func.name()) => {
            return added(&Expr::AggregateFunction(of.clone()), alike);
        }
        _ => return Ok(None),
    };
    let (sum, counted) = match of_sums {
        Expr::AggregateFunction(sum) => (sum, false),
        // Nothing is zero there.
        Expr::Case(case) => match (case.when_then_expr.as_slice(), case.else_expr.as_deref()) {
            ([(when, then)], Some(Expr::Literal(zero, _)))
                if grouped && integer(zero) == Some(0) && **when == Expr::IsNotNull(then.clone()) =>
            {
                let Expr::AggregateFunction(sum) = &**then else { return Ok(None) };
                (sum, true)
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    if sum.func.name() != "sum" || of.params.filter.is_some() {
        return Ok(None);
    }
    let added = added(&Expr::AggregateFunction(sum.clone()), alike)?;
    Ok(added.map(|added| Added { counted, ..added }))
}

/// The percentile of a number over the sketches of it.
fn percentile_of(of: &AggregateFunction, alike: &Alike<'_>) -> Option<Expr> {
    let [number, part @ Expr::Literal(..)] = of.params.args.as_slice() else { return None };
    let number = match number {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Float64 => &cast.expr,
        number => number,
    };
    let Expr::Column(column) = number else { return None };
    let measure = rollup::SKETCHED.iter().find(|measure| **measure == column.name)?;
    let forward = of.params.order_by.iter().all(|by| by.asc);
    if of.params.distinct || !forward || !rollup::is_measure(alike.table, measure) {
        return None;
    }
    let sketch = Column::new(Some(alike.name.clone()), rollup::sketch_of(measure));
    let mut over = AggregateFunction { func: percentile::percentile_of_sketches(), params: of.params.clone() };
    over.params.args = vec![Expr::Column(sketch), part.clone()];
    over.params.order_by.clear();
    Some(Expr::AggregateFunction(over))
}

/// The type of what is added up.
fn scale(of: &Expr, alike: &Alike<'_>) -> Result<DataType> {
    Ok(match of.get_type(alike.schema)? {
        DataType::Decimal128(_, 0) | DataType::Int32 | DataType::Int64 => rollup::sum_type(Kind::Long),
        DataType::Decimal128(..) => rollup::sum_type(Kind::Usd),
        other => other,
    })
}

/// What an expression adds up to over the rows that a row stands for, as a sum of this type: a number, nothing, one for each row, or
/// one of these by what is alike.
fn sum_of(of: &Expr, kind: &DataType, alike: &mut Alike<'_>) -> Result<Option<Expr>> {
    Ok(match of {
        Expr::Column(column) => {
            let measure = rollup::measures(alike.table).find(|measure| measure.name == column.name);
            measure.filter(|measure| rollup::sum_type(measure.kind) == *kind).map(|_| of.clone())
        }
        Expr::Literal(value, _) if value.is_null() => Some(Expr::Literal(ScalarValue::try_from(kind)?, None)),
        Expr::Literal(value, _) => match integer(value) {
            Some(0) => Some(Expr::Literal(ScalarValue::Int64(Some(0)).cast_to(kind)?, None)),
            Some(1) if *kind == rollup::sum_type(Kind::Long) => {
                Some(Expr::Cast(Cast::new(Box::new(rows(alike)), kind.clone())))
            }
            _ => None,
        },
        Expr::Cast(cast) if alike.is_safe_cast(&cast.expr, cast.field.data_type()) => sum_of(&cast.expr, kind, alike)?,
        Expr::Case(case) if case.expr.is_none() => {
            let mut branches = Vec::with_capacity(case.when_then_expr.len());
            for (when, then) in &case.when_then_expr {
                let Some(then) = sum_of(then, kind, alike)?.filter(|_| alike.is(when)) else { return Ok(None) };
                branches.push((when.clone(), Box::new(then)));
            }
            let otherwise = match &case.else_expr {
                None => None,
                Some(otherwise) => match sum_of(otherwise, kind, alike)? {
                    None => return Ok(None),
                    some => some.map(Box::new),
                },
            };
            Some(Expr::Case(Case::new(None, branches, otherwise)))
        }
        _ => None,
    })
}

/// For how many of the rows that a row stands for an expression is not NULL.
fn count_of(of: &Expr, alike: &mut Alike<'_>) -> Option<Expr> {
    let known = Expr::IsNotNull(Box::new(of.clone()));
    match of {
        Expr::Literal(value, _) if !value.is_null() => Some(rows(alike)),
        _ if alike.is(&known) => {
            let branch = (Box::new(known), Box::new(rows(alike)));
            Some(Expr::Case(Case::new(None, vec![branch], None)))
        }
        _ => None,
    }
}

/// How many rows a row stands for.
fn rows(alike: &Alike<'_>) -> Expr {
    Expr::Column(Column::new(Some(alike.name.clone()), ROWS))
}

/// A whole number that stands in a statement.
fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        ScalarValue::Decimal128(Some(0), ..) => Some(0),
        _ => None,
    }
}
