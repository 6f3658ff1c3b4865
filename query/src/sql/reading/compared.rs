//! Comparisons with each element of an array, other than for being one of them: `x >= ANY($1)`, `x < ALL($1)`, `x LIKE ANY($1)`.
//!
//! They are written out, one comparison an element. So they may be few, and of what is short and has none of them in it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, visit_expressions};

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
