//! What `GET /v1/tables` says beside the tables of the ledger: views, what was imported, and how complete the answer is.

use serde_json::{Value, json};

use crate::{
    imports,
    sql::{MADE, encode::sql_type, views},
};

/// Each with its columns, their types and what they mean.
pub(super) fn others() -> Vec<Value> {
    let mut rows = Vec::new();
    for (view, (_, schema)) in views::ALL.iter().map(|view| &view.described).zip(views::shapes()) {
        let columns = view.columns.iter().filter_map(|column| {
            let kind = sql_type(schema.field_with_name(column.name).ok()?.data_type());
            let unit = if column.unit.is_empty() { Value::Null } else { column.unit.into() };
            Some(json!({"name": column.name, "type": kind, "description": column.doc, "unit": unit}))
        });
        rows.push(json!({"name": view.name, "description": view.about, "columns": columns.collect::<Vec<_>>()}));
    }
    let imported = imports::ALL
        .iter()
        .map(|table| (table, format!("{} Imported with `tollgate import {} FILE`.", table.doc, table.name)));
    for (table, about) in imported.chain(MADE.iter().map(|table| (table, table.doc.to_owned()))) {
        let columns = table.columns.iter().map(|column| {
            json!({"name": column.name, "type": sql_type(&column.kind.data_type()), "description": column.doc})
        });
        rows.push(json!({"name": table.name, "description": about, "columns": columns.collect::<Vec<_>>()}));
    }
    rows
}
