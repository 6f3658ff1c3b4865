//! The time that a query asks about, as far as its conditions say it plainly: files of other days are not opened.

use std::ops::RangeInclusive;

use datafusion::{
    common::ScalarValue,
    logical_expr::{Between, BinaryExpr, Expr, Operator},
};

/// The microseconds since 1970 that `column` can have in rows that satisfy all of `conditions`.
pub(crate) fn span(conditions: &[Expr], column: &str) -> RangeInclusive<i64> {
    let (mut first, mut last) = (i64::MIN, i64::MAX);
    for condition in conditions {
        let (from, to) = of(condition, column).unwrap_or((i64::MIN, i64::MAX));
        first = first.max(from);
        last = last.min(to);
    }
    first..=last
}

fn of(condition: &Expr, name: &str) -> Option<(i64, i64)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, value) = match (column(left, name), column(right, name)) {
                (true, _) => (*op, micros(right)?),
                (_, true) => (op.swap()?, micros(left)?),
                _ => return None,
            };
            match op {
                Operator::Eq => Some((value, value)),
                Operator::Gt | Operator::GtEq => Some((value, i64::MAX)),
                Operator::Lt | Operator::LtEq => Some((i64::MIN, value)),
                _ => None,
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) if column(expr, name) => {
            Some((micros(low)?, micros(high)?))
        }
        _ => None,
    }
}

fn column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

fn micros(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampMicrosecond(micros, _), _) => *micros,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn plain_conditions_bound_the_time() {
        let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let check = |conditions: &[Expr], wanted: RangeInclusive<i64>| assert_eq!(span(conditions, "time"), wanted);
        check(&[], i64::MIN..=i64::MAX);
        check(&[col("time").gt_eq(at(5)), col("time").lt(at(9))], 5..=9);
        check(&[at(5).lt(col("time"))], 5..=i64::MAX);
        check(&[col("time").eq(at(7))], 7..=7);
        check(&[col("time").between(at(2), at(3))], 2..=3);
        check(&[col("settled_at").gt(at(5))], i64::MIN..=i64::MAX);
        check(&[col("time").gt(lit(5))], i64::MIN..=i64::MAX);
    }
}
