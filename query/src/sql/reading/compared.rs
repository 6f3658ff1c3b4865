//! Comparisons with each element of an array, other than for being one of them: `x >= ANY($1)`, `x < ALL($1)`, `x LIKE ANY($1)`,
//! `x LIKE ALL($1)`, whose `ALL($1)` is parsed as a call.
//!
//! They are written out, one comparison an element. So they may be few, and of what is short and has none of them in it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, visit_expressions,
};

use crate::sql::statement::joined;

/// The most elements of a statement that something is compared with one by one.
pub(super) const MAX_EACH: usize = 200;

/// The longest text that is compared with each.
const MAX_LEFT: usize = 1 << 10;

/// What an expression compares, with what array, and whether it has to hold for all of it.
pub(super) fn parts(expr: &mut Expr) -> Option<(&mut Expr, &mut Expr, bool)> {
    match expr {
        // Those are lists, however long.
        Expr::AnyOp { compare_op: BinaryOperator::Eq, .. } | Expr::AllOp { compare_op: BinaryOperator::NotEq, .. } => {
            None
        }
        Expr::AnyOp { left, right, .. } => Some((left.as_mut(), right.as_mut(), false)),
        Expr::AllOp { left, right, .. } => Some((left.as_mut(), right.as_mut(), true)),
        Expr::Like { any: true, expr, pattern, .. } | Expr::ILike { any: true, expr, pattern, .. } => {
            Some((expr.as_mut(), pattern.as_mut(), false))
        }
        Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } => {
            let (array, is_all) = called(pattern)?;
            Some((expr.as_mut(), array, is_all))
        }
        _ => None,
    }
}

/// What a pattern is compared with that is parsed as a call: an array, and whether it is all of it.
fn called(pattern: &mut Expr) -> Option<(&mut Expr, bool)> {
    let is_all = is_all(pattern)?;
    let Expr::Function(function) = pattern else { return None };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some((array, is_all)),
        _ => None,
    }
}

/// Whether a call is of `ALL`, and not of `SOME`; nothing of others.
fn is_all(pattern: &Expr) -> Option<bool> {
    let Expr::Function(function) = pattern else { return None };
    match function.name.to_string().to_lowercase().as_str() {
        "all" => Some(true),
        "some" => Some(false),
        _ => None,
    }
}

/// Whether something may be written out once an element.
pub(super) fn is_plain(left: &Expr) -> bool {
    let within = visit_expressions(left, |part: &Expr| match part {
        Expr::AnyOp { .. } | Expr::AllOp { .. } | Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ControlFlow::Break(())
        }
        Expr::Like { any: true, .. } | Expr::ILike { any: true, .. } => ControlFlow::Break(()),
        Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } if is_all(pattern).is_some() => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    within.is_continue() && left.to_string().len() <= MAX_LEFT
}

/// A comparison with these elements.
pub(super) fn with_each(comparison: &Expr, elements: Vec<Expr>, is_all: bool) -> Expr {
    if elements.is_empty() {
        return Expr::Value(Value::Boolean(is_all).into());
    }
    let each = elements.into_iter().map(|element| with(comparison, element)).collect();
    let op = if is_all { BinaryOperator::And } else { BinaryOperator::Or };
    Expr::Nested(Box::new(joined(each, &op)))
}

fn with(comparison: &Expr, element: Expr) -> Expr {
    match comparison {
        Expr::AnyOp { left, compare_op: op, .. } | Expr::AllOp { left, compare_op: op, .. } => {
            Expr::BinaryOp { left: left.clone(), op: op.clone(), right: Box::new(element) }
        }
        other => {
            let mut like = other.clone();
            if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut like {
                *any = false;
                **pattern = element;
            }
            like
        }
    }
}
