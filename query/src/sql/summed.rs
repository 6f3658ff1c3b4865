//! Which integers are sums of such as are `BIGINT` in Postgres: there a sum of these is a `numeric`, and has decimals where it is divided.
//!
//! What is planned with a statement ([`Divide`](super::quotient::Divide)) sees the sums of the same query, and only the types of columns
//! that come out of one within. So the plan is looked through once more when it is whole.

use datafusion::{
    arrow::datatypes::DataType,
    common::{DFSchema, JoinType, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, WindowFunctionDefinition,
        utils::{grouping_set_to_exprlist, merge_schema},
    },
};

use super::{quotient, steps};

/// Aggregates and window functions that give one of the values of their first argument.
const CHOOSE: &[&str] = &["any_value", "first_value", "lag", "last_value", "lead", "max", "min", "nth_value"];

/// Divides sums that come out of queries within as decimals, and what is calculated with their quotients.
pub(super) fn divided(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_it =
        |part: &Expr| matches!(part, Expr::BinaryExpr(of) if matches!(of.op, Operator::Divide | Operator::Multiply));
    steps::each(plan, |node, are_new| match steps::has(&node, is_it)? {
        true => quotients(node, are_new),
        false => Ok(Transformed::no(node)),
    })
}

/// A step with its quotients; types of what it reads may have become others before.
fn quotients(node: LogicalPlan, mut are_new: bool) -> Result<Transformed<LogicalPlan>> {
    let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
    let schema = merge_schema(&inputs.iter().collect::<Vec<_>>());
    let over = Over::inputs(inputs.iter().collect(), &schema);
    steps::parts(node, |part| {
        let is_ours = matches!(&part, Expr::BinaryExpr(of) if over.is_ours(of, are_new));
        Ok(match part {
            Expr::BinaryExpr(of) if is_ours => {
                are_new = true;
                Transformed::yes(quotient::calculated(of.op == Operator::Divide, *of.left, *of.right))
            }
            other => Transformed::no(other),
        })
    })
}

/// What is known of the columns that an expression is over.
pub(super) struct Over<'a> {
    schema: &'a DFSchema,
    /// By what they come from, whether each is such a sum.
    sums: Vec<(&'a DFSchema, Vec<bool>)>,
}

impl<'a> Over<'a> {
    /// Of columns of which nothing but the types is known.
    pub(super) const fn types(schema: &'a DFSchema) -> Self {
        Self { schema, sums: Vec::new() }
    }

    fn inputs(inputs: Vec<&'a LogicalPlan>, schema: &'a DFSchema) -> Self {
        let sums = inputs.into_iter().map(|input| (&**input.schema(), sums(input))).collect();
        Self { schema, sums }
    }

    /// Whether this is divided by us, or multiplied since types have changed below it.
    fn is_ours(&self, of: &BinaryExpr, are_new: bool) -> bool {
        let divides = match of.op {
            Operator::Divide => true,
            Operator::Multiply if are_new => false,
            _ => return false,
        };
        let is_sum = divides && (self.is_sum(&of.left) || self.is_sum(&of.right));
        if !is_sum && !are_new {
            return false;
        }
        let (Ok(left), Ok(right)) = (of.left.get_type(self.schema), of.right.get_type(self.schema)) else {
            return false;
        };
        (is_sum && left.is_integer() && right.is_integer()) || (are_new && quotient::is_ours(divides, &left, &right))
    }

    /// Whether an integer is reckoned from a sum of such as are `BIGINT` in Postgres.
    pub(super) fn is_sum(&self, expr: &Expr) -> bool {
        let taken = |name: &str, args: &[Expr]| match name {
            "sum" => args.iter().any(|arg| self.is_big(arg)),
            _ => CHOOSE.contains(&name) && args.first().is_some_and(|arg| self.is_sum(arg)),
        };
        match expr {
            Expr::AggregateFunction(of) => taken(of.func.name(), &of.params.args),
            Expr::WindowFunction(of) => match &of.fun {
                WindowFunctionDefinition::AggregateUDF(function) => taken(function.name(), &of.params.args),
                WindowFunctionDefinition::WindowUDF(function) => taken(function.name(), &of.params.args),
            },
            Expr::Column(column) => {
                let mut known = self.sums.iter();
                let of = known.find_map(|(schema, sums)| sums.get(schema.maybe_index_of_column(column)?));
                of.copied().unwrap_or(false)
            }
            Expr::ScalarSubquery(of) => sums(&of.subquery).first().copied().unwrap_or(false),
            other => parts(other).into_iter().any(|part| self.is_sum(part)),
        }
    }

    /// Whether an integer is a `BIGINT` in Postgres, where a small constant is none.
    fn is_big(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Literal(ScalarValue::Int64(Some(number)), _) => i32::try_from(*number).is_err(),
            Expr::BinaryExpr(_) | Expr::Negative(_) | Expr::Alias(_) | Expr::Case(_) => {
                parts(expr).into_iter().any(|part| self.is_big(part))
            }
            Expr::ScalarFunction(_) if !parts(expr).is_empty() => parts(expr).into_iter().any(|part| self.is_big(part)),
            other => matches!(other.get_type(self.schema), Ok(DataType::Int64 | DataType::UInt32 | DataType::UInt64)),
        }
    }
}

/// What an expression takes its type from.
fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Alias(of) => vec![of.expr.as_ref()],
        Expr::Negative(of) => vec![of.as_ref()],
        Expr::BinaryExpr(of) => vec![of.left.as_ref(), of.right.as_ref()],
        Expr::Case(of) => {
            of.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(of.else_expr.as_deref()).collect()
        }
        Expr::ScalarFunction(of) => match of.func.name() {
            "coalesce" | "greatest" | "least" => of.args.iter().collect(),
            "nullif" | "abs" => of.args.iter().take(1).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Whether each column of a plan is such a sum. Each step is looked at once, so that what is reckoned from itself again and again takes
/// no longer.
fn sums(plan: &LogicalPlan) -> Vec<bool> {
    let inputs = plan.inputs();
    let schema = merge_schema(&inputs);
    let mut over = Over::inputs(inputs, &schema);
    let of = |over: &Over<'_>, all: &[Expr]| -> Vec<bool> { all.iter().map(|expr| over.is_sum(expr)).collect() };
    let columns = plan.schema().fields().len();
    let mut known = match plan {
        LogicalPlan::Projection(made) => of(&over, &made.expr),
        LogicalPlan::Distinct(Distinct::On(made)) => of(&over, &made.select_expr),
        LogicalPlan::Aggregate(made) => {
            let groups = grouping_set_to_exprlist(&made.group_expr).unwrap_or_default();
            let mut known: Vec<bool> = groups.into_iter().map(|expr| over.is_sum(expr)).collect();
            // Sets of groups have a number of their own.
            known.resize(columns.saturating_sub(made.aggr_expr.len()), false);
            known.extend(of(&over, &made.aggr_expr));
            known
        }
        LogicalPlan::Window(made) => {
            let made = of(&over, &made.window_expr);
            over.sums.pop().into_iter().flat_map(|(_, below)| below).chain(made).collect()
        }
        LogicalPlan::Join(made) => {
            let right_only = matches!(made.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
            let skipped = usize::from(right_only);
            over.sums.into_iter().skip(skipped).flat_map(|(_, below)| below).collect()
        }
        LogicalPlan::Union(_) => {
            let is_any = |at: usize| over.sums.iter().any(|(_, below)| below.get(at) == Some(&true));
            (0..columns).map(is_any).collect()
        }
        // What has the columns of what it reads.
        _ => match over.sums.pop() {
            Some((_, below)) if over.sums.is_empty() && below.len() == columns => below,
            _ => Vec::new(),
        },
    };
    known.resize(columns, false);
    known
}
