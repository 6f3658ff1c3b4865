//! Days, weeks and hours in a session's zone: what looks at the clock of an instant gets that instant in the zone.
//!
//! Instants are the same everywhere, so comparisons, sums and groups by an instant are not touched. Nor are statements that read a
//! view ([`super::Reading::over`]).

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, config::ConfigOptions, tree_node::Transformed},
    functions::datetime::to_local_time,
    logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, expr_rewriter::FunctionRewrite},
};

use crate::sql::{clock, trunc::is_utc};

/// The functions whose answer depends on the zone of an instant.
const LOOKS_AT_CLOCK: &[&str] = &["date_trunc", "date_part", "extract", "to_char", "date_bin", "to_local_time", "age"];

/// Puts instants into a zone where it matters.
#[derive(Debug)]
pub(crate) struct InZone(pub(crate) Arc<str>);

impl InZone {
    /// The expression in the zone; nothing if it is no instant, or there already.
    fn put(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let DataType::Timestamp(unit, Some(zone)) = expr.get_type(schema)? else { return Ok(None) };
        let wanted = DataType::Timestamp(unit, Some(Arc::clone(&self.0)));
        // Columns and what is made of them; what a statement puts into a zone itself stays there.
        let is_put = !["UTC", "+00:00"].contains(&zone.as_ref());
        Ok((!is_put).then(|| Expr::Cast(Cast::new(Box::new(expr.clone()), wanted))))
    }

    /// What the clocks of its zone show at an instant; nothing if it is none. By itself the engine tells what those of UTC do.
    fn shown(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let DataType::Timestamp(_, Some(zone)) = expr.get_type(schema)? else { return Ok(None) };
        let zone = if is_utc(&zone) { &self.0 } else { &zone };
        if let Some(shown) = clock::at_zone(expr.clone(), zone) {
            return Ok(Some(shown));
        }
        let put = self.put(expr, schema)?.unwrap_or_else(|| expr.clone());
        Ok(Some(to_local_time().call(vec![put])))
    }
}

impl FunctionRewrite for InZone {
    fn name(&self) -> &'static str {
        "in zone"
    }

    fn rewrite(&self, mut expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let mut changed = false;
        match &mut expr {
            Expr::ScalarFunction(call) if LOOKS_AT_CLOCK.contains(&call.func.name()) => {
                for arg in &mut call.args {
                    if let Some(put) = self.put(arg, schema)? {
                        *arg = put;
                        changed = true;
                    }
                }
            }
            // Its days and months are those of the zone.
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
                let is_interval = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::Interval(_)));
                let time = match (is_interval(left), is_interval(right)) {
                    (false, true) => left,
                    (true, false) => right,
                    _ => return Ok(Transformed::no(expr)),
                };
                if let Some(put) = self.put(time, schema)? {
                    (**time, changed) = (put, true);
                }
            }
            Expr::Cast(cast) if !matches!(cast.field.data_type(), DataType::Timestamp(_, Some(_))) => {
                let put = match cast.field.data_type() {
                    DataType::Timestamp(_, None) => self.shown(&cast.expr, schema)?,
                    _ => self.put(&cast.expr, schema)?,
                };
                if let Some(put) = put {
                    *cast.expr = put;
                    changed = true;
                }
            }
            _ => {}
        }
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}
