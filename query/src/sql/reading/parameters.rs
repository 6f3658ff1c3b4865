//! The parameters of a statement: what is one, whatever it is cast to, and those of expressions that are read otherwise than they were written.

use std::ops::ControlFlow;

use arrow::datatypes::DataType as Kind;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Value, ValueWithSpan, visit_expressions};

use super::{
    arrays,
    rewrite::{taken, written},
};

/// Where a parameter stands among its statement's, by its name.
pub(crate) fn place(parameter: &str) -> Option<usize> {
    parameter.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// What stands in the place of an expression, and beside it the parameters that would be gone with that: clients are told the types of all
/// that they wrote, and give a value for each.
pub(super) fn keeping(gone: &Expr, instead: Expr) -> Expr {
    let left = parameters(&instead);
    let lost = parameters(gone).into_iter().filter(|(name, _)| left.iter().all(|(other, _)| other != name));
    lost.fold(instead, |instead, (_, parameter)| {
        written(&format!("CASE WHEN false AND {parameter} IS NULL THEN NULL ELSE {instead} END"))
    })
}

/// The parameters of an expression: the name of each, and how it is first written, with what it is cast to.
fn parameters(expr: &Expr) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let _: ControlFlow<()> = visit_expressions(expr, |part| {
        if let Some(name) = parameter(part)
            && all.iter().all(|(known, _)| known != name)
        {
            all.push((name.to_owned(), part.to_string()));
        }
        ControlFlow::Continue(())
    });
    all
}

/// The name of the parameter that an expression is, whatever it is cast to.
pub(crate) fn parameter(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => place(name).map(|_| name.as_str()),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => parameter(expr),
        _ => None,
    }
}

/// Whether an expression is a parameter that is cast to an array.
pub(super) fn is_array(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { expr, data_type: DataType::Array(_), .. } => parameter(expr).is_some(),
        Expr::Nested(expr) => is_array(expr),
        _ => false,
    }
}

/// Whether an expression is written as a span of time.
pub(super) fn is_span(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) | Expr::Cast { data_type: DataType::Interval { .. }, .. } => true,
        Expr::Nested(expr) => is_span(expr),
        Expr::BinaryOp { left, right, .. } => is_span(left) || is_span(right),
        _ => false,
    }
}

/// A parameter without what it is cast to.
pub(super) fn bare(parameter: &mut Expr) -> Expr {
    match parameter {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => bare(expr),
        parameter => taken(parameter),
    }
}

/// A parameter by the name of one that is an array and is not compared with.
pub(super) fn alone(parameter: &str) -> String {
    parameter.replacen('$', arrays::ALONE, 1)
}

/// How a type that a client gave to a parameter is written; nothing where the statement says it better.
pub(super) fn sql_name(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Boolean => "BOOLEAN",
        Kind::Int32 => "INTEGER",
        // Of two bytes no function of the engine takes one, and nothing is calculated with.
        Kind::Int16 | Kind::Int64 => "BIGINT",
        Kind::Float32 => "REAL",
        Kind::Float64 => "DOUBLE PRECISION",
        Kind::Utf8 => "VARCHAR",
        Kind::Date32 => "DATE",
        Kind::Interval(_) => "INTERVAL",
        _ => return None,
    })
}
