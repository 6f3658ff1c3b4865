//! `date(time)`, which is `time::date` in Postgres, and what SQLAlchemy writes for it.

use std::sync::Arc;

use arrow::{compute::cast, datatypes::DataType};
use datafusion::{
    common::{DFSchema, Result, config::ConfigOptions, exec_err, plan_err, tree_node::Transformed},
    logical_expr::{Expr, ScalarUDF, cast as cast_to, expr_rewriter::FunctionRewrite},
};

use super::shape::Plain;

const NAME: &str = "date";

/// The function.
pub(super) fn date() -> Arc<ScalarUDF> {
    Plain {
        name: NAME,
        takes: |types| match types {
            [kind] if kind.is_temporal() || kind.is_string() || kind.is_null() => Ok(vec![kind.clone()]),
            _ => plan_err!("date() takes a time"),
        },
        gives: |_| Ok(DataType::Date32),
        makes: |arrays| {
            let [times] = arrays else { return exec_err!("date() takes a time") };
            Ok(cast(times, &DataType::Date32)?)
        },
    }
    .shared()
}

/// Puts the cast in its place, before it is asked in which zone that is.
#[derive(Debug)]
pub(super) struct Dated;

impl FunctionRewrite for Dated {
    fn name(&self) -> &'static str {
        "dated"
    }

    fn rewrite(&self, mut expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        if let Expr::ScalarFunction(call) = &mut expr
            && call.func.name() == NAME
            && let Some(time) = call.args.pop()
        {
            return Ok(Transformed::yes(cast_to(time, DataType::Date32)));
        }
        Ok(Transformed::no(expr))
    }
}
