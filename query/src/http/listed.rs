//! What `GET /v1/tables` says beside the tables of the ledger: views, what was imported, and how complete the answer is.

use serde_json::{Value, json};

use crate::{
    imports,
    sql::{WATERMARK, WATERMARK_COLUMNS, WATERMARK_DOC, encode::sql_type, views, watermark_schema},
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
    for table in imports::ALL {
        let columns = table.columns.iter().map(|column| {
            json!({"name": column.name, "type": sql_type(&column.kind.data_type()), "description": column.doc})
        });
        let about = format!("{} Imported with `tollgate import {} FILE`.", table.doc, table.name);
        rows.push(json!({"name": table.name, "description": about, "columns": columns.collect::<Vec<_>>()}));
    }
    let schema = watermark_schema();
    let columns = WATERMARK_COLUMNS
        .iter()
        .zip(schema.fields())
        .map(|((name, doc), field)| json!({"name": name, "type": sql_type(field.data_type()), "description": doc}));
    rows.push(json!({"name": WATERMARK, "description": WATERMARK_DOC, "columns": columns.collect::<Vec<_>>()}));
    rows
}
