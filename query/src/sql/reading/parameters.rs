//! The parameters of expressions that are read otherwise than they were written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan, visit_expressions};

use super::rewrite::written;

/// Where a parameter stands among its statement's, by its name.
pub(super) fn place(parameter: &str) -> Option<usize> {
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
fn parameter(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => place(name).map(|_| name.as_str()),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => parameter(expr),
        _ => None,
    }
}
