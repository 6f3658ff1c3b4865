//! Plans that are gone through step by step from below, and again from where the types of columns have changed.
//!
//! A query within that names a column around it carries what the column was when it was planned. So it is gone through after what it stands
//! over, and takes the column for what that has become.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchemaRef, Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan, expr_rewriter::NamePreserver},
    optimizer::analyzer::AnalyzerRule,
};

/// A plan each step of which is what `step` makes of it, which is told whether one before it has become another. Every step after such a one
/// looks at its columns anew.
pub(super) fn each(
    plan: LogicalPlan,
    step: impl FnMut(LogicalPlan, bool) -> Result<Transformed<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let mut way = Way { step, changed: false, around: Vec::new() };
    Ok(way.up(plan)?.data)
}

/// Through a plan, from below.
struct Way<S> {
    step: S,
    /// Whether a step has become another.
    changed: bool,
    /// The columns that a query within may name, the nearest last.
    around: Vec<DFSchemaRef>,
}

impl<S: FnMut(LogicalPlan, bool) -> Result<Transformed<LogicalPlan>>> Way<S> {
    fn up(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let depth = self.around.len();
        // What is joined may be a query that names columns of what stands before it.
        let node = node.map_children(|input| {
            let input = self.up(input)?;
            self.around.push(Arc::clone(input.data.schema()));
            Ok(input)
        })?;
        let node = node.data.map_subqueries(|within| self.up(within))?;
        self.around.truncate(depth);
        let node = replaced(node.data, |part| renewed(part, &self.around))?;
        self.changed |= node.transformed;
        let node = (self.step)(node.data, self.changed)?;
        self.changed |= node.transformed;
        Ok(if self.changed { Transformed::yes(node.data.recompute_schema()?) } else { node })
    }
}

/// A column of a query around as it is by now, where that is of another type, or may be NULL.
fn renewed(part: &Expr, around: &[DFSchemaRef]) -> Option<Expr> {
    let Expr::OuterReferenceColumn(known, column) = part else { return None };
    let now = around.iter().rev().find_map(|schema| Some(schema.field(schema.maybe_index_of_column(column)?)))?;
    let is_other = known.data_type() != now.data_type() || known.is_nullable() != now.is_nullable();
    is_other.then(|| Expr::OuterReferenceColumn(Arc::clone(now), column.clone()))
}

/// What queries within name by the types that the engine has settled: a `CASE` is of that of its first branch until then.
#[derive(Debug)]
pub(super) struct Renewed;

impl AnalyzerRule for Renewed {
    fn name(&self) -> &'static str {
        "renewed"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        each(plan, |node, _| Ok(Transformed::no(node)))
    }
}

/// Whether an expression of a step, or a part of one, is such a one.
pub(super) fn has(node: &LogicalPlan, is_it: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(is_it(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A step each part of whose expressions is what `part` makes of it. Columns are called as before.
pub(super) fn parts(
    node: LogicalPlan,
    mut part: impl FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let done = expr.transform_up(&mut part)?;
        Ok(done.update_data(|expr| name.restore(expr)))
    })
}

/// A step with what `other` has in the place of some parts.
pub(super) fn replaced(node: LogicalPlan, other: impl Fn(&Expr) -> Option<Expr>) -> Result<Transformed<LogicalPlan>> {
    if !has(&node, |part| other(part).is_some())? {
        return Ok(Transformed::no(node));
    }
    parts(node, |part| Ok(other(&part).map_or_else(|| Transformed::no(part), Transformed::yes)))
}
