//! What the standard and Postgres write, in words that the engine's planner knows: `FETCH FIRST`, rows that are compared, or listed with what
//! is asked first, intervals with a clock, and arguments by other names.

use std::{mem, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, Parens, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, TypedString, UnaryOperator, Value,
    ValueWithSpan, visit_expressions,
};

use super::{MAX_OPERATORS, found::is_query};
use crate::sql::{
    instant,
    interval::in_units,
    reading::rewrite::{taken, written},
};

/// `FETCH FIRST 5 ROWS ONLY` → `LIMIT 5`.
pub(super) fn fetched(query: &mut Query) -> ControlFlow<String> {
    let Some(Fetch { with_ties, percent, quantity }) = &mut query.fetch else { return ControlFlow::Continue(()) };
    if *with_ties || *percent {
        return ControlFlow::Break("FETCH takes a number of rows, and ONLY; write rank() OVER (…) for ties".to_owned());
    }
    let limit = Some(quantity.take().unwrap_or_else(|| written("1")));
    query.limit_clause = match query.limit_clause.take() {
        None => Some(LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() }),
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) => {
            Some(LimitClause::LimitOffset { limit, offset, limit_by })
        }
        Some(_) => return ControlFlow::Break("LIMIT and FETCH say the same; write one of them".to_owned()),
    };
    query.fetch = None;
    ControlFlow::Continue(())
}

/// `VALUES (1), ((SELECT 2))` → `SELECT 1 AS column1 UNION ALL SELECT (SELECT 2) AS column1`: the engine makes rows that are listed before
/// it asks anything.
pub(super) fn listed(body: &mut SetExpr) -> ControlFlow<String> {
    let asks = |row: &Parens<Vec<Expr>>| {
        let query = |part: &Expr| if is_query(part) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        visit_expressions(&row.content, query).is_break()
    };
    match body {
        SetExpr::Values(values) if values.rows.iter().any(asks) => {
            if values.rows.len() > MAX_OPERATORS {
                return ControlFlow::Break(format!("VALUES with queries may have {MAX_OPERATORS} rows"));
            }
            let rows = mem::take(&mut values.rows);
            if let Some(all) = shown(rows.into_iter().map(|row| row.content).collect()) {
                *body = all;
            }
            ControlFlow::Continue(())
        }
        SetExpr::SetOperation { left, right, .. } => {
            listed(left)?;
            listed(right)
        }
        _ => ControlFlow::Continue(()),
    }
}

/// A query of these rows, no deeper than it must be.
fn shown(mut rows: Vec<Vec<Expr>>) -> Option<SetExpr> {
    let right = rows.split_off(rows.len() / 2);
    if rows.is_empty() {
        let Expr::Subquery(mut query) = written("(SELECT NULL)") else { return None };
        let SetExpr::Select(select) = query.body.as_mut() else { return None };
        let column = |(expr, at)| SelectItem::ExprWithAlias { expr, alias: Ident::new(format!("column{at}")) };
        select.projection = right.into_iter().next()?.into_iter().zip(1_usize..).map(column).collect();
        return Some(*query.body);
    }
    let [left, right] = [Box::new(shown(rows)?), Box::new(shown(right)?)];
    Some(SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right })
}

/// `(a, b) = (1, 2)` → `a = 1 AND b = 2`, `(a, b) < (1, 2)` → `a < 1 OR (a = 1 AND b < 2)`, and `(a, b) IN ((1, 2), (3, 4))` as often.
pub(super) fn by_parts(expr: &mut Expr) -> ControlFlow<String> {
    let compared = match expr {
        Expr::BinaryOp { left, op, right } => match (left.as_mut(), right.as_mut()) {
            (Expr::Tuple(left), Expr::Tuple(right)) => compared(mem::take(left), op, mem::take(right))?,
            _ => return ControlFlow::Continue(()),
        },
        Expr::InList { expr: of, list, negated } => {
            let Expr::Tuple(of) = &**of else { return ControlFlow::Continue(()) };
            if of.len().saturating_mul(list.len()) > MAX_OPERATORS {
                return ControlFlow::Break(format!("rows may be compared part by part {MAX_OPERATORS} times"));
            }
            let mut any = Vec::new();
            for one in list {
                let Expr::Tuple(one) = one else { return uneven() };
                any.push(compared(of.clone(), &BinaryOperator::Eq, mem::take(one))?);
            }
            let any = joined(any, &BinaryOperator::Or);
            if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(any)) } } else { any }
        }
        _ => return ControlFlow::Continue(()),
    };
    *expr = nested(compared);
    ControlFlow::Continue(())
}

/// `x BETWEEN SYMMETRIC a AND b`, which is parsed as `x BETWEEN NOT a AND b`, → `x BETWEEN a AND b OR x BETWEEN b AND a`. In each other they
/// would double what is in them again and again.
pub(super) fn symmetric(expr: &mut Expr) -> ControlFlow<String> {
    let Expr::Between { expr: of, negated, low, high } = expr else { return ControlFlow::Continue(()) };
    let Expr::UnaryOp { op: UnaryOperator::Not, expr: low } = &mut **low else { return ControlFlow::Continue(()) };
    let (of, low, high, negated) = (taken(of), taken(low), taken(high), *negated);
    for part in [&of, &low, &high] {
        let within = visit_expressions(part, |part| match part {
            Expr::Between { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if within.is_break() {
            return ControlFlow::Break(
                "BETWEEN SYMMETRIC takes no other BETWEEN: name that in a query within FROM".to_owned(),
            );
        }
    }
    let between = |low: &Expr, high: &Expr| {
        let [expr, low, high] = [&of, low, high].map(|part| Box::new(part.clone()));
        Expr::Between { expr, negated: false, low, high }
    };
    let either = nested(joined(vec![between(&low, &high), between(&high, &low)], &BinaryOperator::Or));
    *expr = if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) } } else { either };
    ControlFlow::Continue(())
}

fn uneven<T>() -> ControlFlow<String, T> {
    ControlFlow::Break("rows that are compared have as many columns on both sides".to_owned())
}

fn compared(left: Vec<Expr>, op: &BinaryOperator, right: Vec<Expr>) -> ControlFlow<String, Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    if left.len() != right.len() || left.len() > MAX_ROW {
        return uneven();
    }
    let all = |op: &BinaryOperator| -> Vec<Expr> {
        left.iter().zip(&right).map(|(left, right)| binary(left, op, right)).collect()
    };
    ControlFlow::Continue(match op {
        Eq => joined(all(&Eq), &And),
        NotEq => joined(all(&NotEq), &Or),
        Lt | LtEq | Gt | GtEq => {
            let strict = if matches!(op, Lt | LtEq) { Lt } else { Gt };
            let mut parts = left.iter().zip(&right).rev();
            let Some((left, right)) = parts.next() else { return uneven() };
            parts.fold(binary(left, op, right), |rest, (left, right)| {
                let tied = joined(vec![binary(left, &Eq, right), rest], &And);
                nested(joined(vec![binary(left, &strict, right), tied], &Or))
            })
        }
        other => return ControlFlow::Break(format!("rows are not compared by {other}")),
    })
}

/// The most columns of a row that is compared.
const MAX_ROW: usize = 16;

fn binary(left: &Expr, op: &BinaryOperator, right: &Expr) -> Expr {
    let [left, right] = [left, right].map(|side| Box::new(side.clone()));
    Expr::BinaryOp { left, op: op.clone(), right }
}

/// All by one operator, no deeper than it must be.
pub(in crate::sql) fn joined(mut all: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let right = all.split_off(all.len() / 2);
    if all.is_empty() {
        return right.into_iter().next().unwrap_or_else(|| Expr::Value(Value::Boolean(false).into()));
    }
    let [left, right] = [all, right].map(|half| Box::new(nested(joined(half, op))));
    Expr::BinaryOp { left, op: op.clone(), right }
}

fn nested(expr: Expr) -> Expr {
    if matches!(expr, Expr::BinaryOp { .. }) { Expr::Nested(Box::new(expr)) } else { expr }
}

/// `interval '3 days 04:05:06'` → `interval '3 days 04 hours 05 minutes 06 seconds'`.
pub(super) fn in_words(expr: &mut Expr) {
    let text = match expr {
        Expr::Interval(interval) if interval.leading_field.is_none() => interval.value.as_mut(),
        Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } => expr.as_mut(),
        _ => return,
    };
    if let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = text
        && let Some(units) = in_units(text)
    {
        *text = units;
    }
}

/// `timestamp '2026-11-01 10:00'` → `timestamp '2026-11-01 10:00:00'`, where that is read before anything else is.
pub(super) fn in_seconds(expr: &mut Expr) {
    let value = match expr {
        Expr::TypedString(TypedString { data_type: DataType::Timestamp(..), value, .. }) => value,
        Expr::Cast { expr, data_type: DataType::Timestamp(..), .. } => match expr.as_mut() {
            Expr::Value(value) => value,
            _ => return,
        },
        _ => return,
    };
    if let Value::SingleQuotedString(text) = &mut value.value
        && let Some(whole) = instant::spelled(text)
    {
        *text = whole;
    }
}

/// What the engine has no plural of.
const UNITS: &[&str] =
    &["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];

/// `date_trunc('hours', x)` → `date_trunc('hour', x)`.
pub(super) fn arguments(expr: &mut Expr) {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return };
    if !name.to_string().eq_ignore_ascii_case("date_trunc") {
        return;
    }
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) = list.args.first_mut() else { return };
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = &mut value.value else { return };
    if let Some(unit) = UNITS.iter().find(|unit| text.eq_ignore_ascii_case(&format!("{unit}s"))) {
        (*unit).clone_into(text);
    }
}
