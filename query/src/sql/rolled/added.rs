//! What adds up over rows of a rollup to what it does over the rows that they stand for.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, Result, ScalarValue},
    logical_expr::{
        Expr, ExprSchemable,
        expr::{AggregateFunction, Case, Cast},
        lit,
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
    pub(super) fn finished(&self, column: Expr) -> Expr {
        if !self.counted {
            return column;
        }
        let known = (Box::new(Expr::IsNotNull(Box::new(column.clone()))), Box::new(column));
        Expr::Case(Case::new(None, vec![known], Some(Box::new(lit(0_i64)))))
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

/// The percentile of a number over the histograms of it.
fn percentile_of(of: &AggregateFunction, alike: &Alike<'_>) -> Option<Expr> {
    let [number, part @ Expr::Literal(..)] = of.params.args.as_slice() else { return None };
    let number = match number {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Float64 => &cast.expr,
        number => number,
    };
    let Expr::Column(column) = number else { return None };
    let measure = rollup::HISTOGRAMS.iter().find(|measure| **measure == column.name)?;
    let forward = of.params.order_by.iter().all(|by| by.asc);
    if of.params.distinct || !forward || !rollup::is_measure(alike.table, measure) {
        return None;
    }
    let histogram = Column::new(Some(alike.name.clone()), rollup::histogram_of(measure));
    let mut over = AggregateFunction { func: percentile::of_histograms(), params: of.params.clone() };
    over.params.args = vec![Expr::Column(histogram), part.clone()];
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
