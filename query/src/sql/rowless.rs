//! Queries that stand for a value and may find no row: NULL, whatever they select.
//!
//! The engine takes of such a query that it can be NULL if its column can, and of a constant, a count or `now()` that it cannot: whether it is
//! NULL would be answered without asking. So what asks for it is a function that may give NULL. Without it stand those that always have a row.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Result, exec_err, internal_datafusion_err},
    logical_expr::{ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl},
};

use super::{shape::as_cast, steps};

/// A plan in which all of them may be NULL.
pub(super) fn nullable(plan: LogicalPlan) -> Result<LogicalPlan> {
    steps::each(plan, |node, _| steps::replaced(node, |part| is_rowless(part).then(|| maybe(part.clone()))))
}

fn maybe(query: Expr) -> Expr {
    ScalarUDF::from(Found).call(vec![query])
}

/// Whether an expression is a query that may have no row, and a column that is never NULL, or will not be once its parameters have values.
fn is_rowless(expr: &Expr) -> bool {
    let Expr::ScalarSubquery(of) = expr else { return false };
    let column = of.subquery.schema().fields().first();
    let is_never = column.is_some_and(|column| !column.is_nullable());
    let is_open = || of.subquery.get_parameter_names().is_ok_and(|names| !names.is_empty());
    !has_a_row(&of.subquery) && (is_never || is_open())
}

fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(of) => has_a_row(&of.input),
        LogicalPlan::SubqueryAlias(of) => has_a_row(&of.input),
        LogicalPlan::Aggregate(of) => of.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(of) => of.produce_one_row,
        _ => false,
    }
}

/// Gives what it is given.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Found;

impl ScalarUDFImpl for Found {
    as_cast!("found");

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| internal_datafusion_err!("a value is missing"))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return exec_err!("one value is found") };
        Ok(value.clone())
    }
}
