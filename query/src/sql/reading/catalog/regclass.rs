//! `x::regclass`: the number of the relation that a text names; of a number itself, as text.
//!
//! Numbers go by names alone, which are those of tables that there are for everybody: nothing of it depends on who asks.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int32Array},
    datatypes::DataType,
};
use datafusion::{
    common::{exec_err, plan_err},
    logical_expr::ScalarUDF,
};

use super::known;
use crate::sql::shape::Plain;

/// The function that stands for the cast.
pub(crate) fn regclass() -> Arc<ScalarUDF> {
    Plain {
        name: "regclass",
        takes: |types| match types {
            [kind] if kind.is_string() || kind.is_null() => Ok(vec![DataType::Utf8]),
            [kind] if kind.is_integer() => Ok(vec![DataType::Int64]),
            _ => plan_err!("regclass is the name of a relation, or its number"),
        },
        gives: |types| {
            Ok(match types {
                [DataType::Int64] => DataType::Utf8,
                _ => DataType::Int32,
            })
        },
        makes: |arrays| {
            let [relations] = arrays else { return exec_err!("regclass is of one relation") };
            Ok(match relations.as_string_opt::<i32>() {
                Some(names) => Arc::new(names.iter().map(|name| number_of(name?)).collect::<Int32Array>()),
                None => arrow::compute::cast(relations, &DataType::Utf8)?,
            })
        },
    }
    .shared()
}

/// The number of a relation of this name, which may have its schema before it.
pub(crate) fn number_of(relation: &str) -> Option<i32> {
    known::number_of(relation.rsplit('.').next()?.trim_matches('"'))
}
