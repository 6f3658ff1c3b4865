//! Which columns what stands in FROM has, as far as that is known before anything is planned: of what a statement writes itself, and of
//! tables and views, of which the head of their file says it, since their statements are read in the same way.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use super::labels::{called, shown_as};
use crate::{
    imports,
    sql::{MADE, MAX_COLUMNS, views},
    table::TableDef,
};

/// The names of columns, in the order in which `*` shows them.
pub(super) type Columns = Vec<String>;

/// The queries of WITH that may be named where a visitor is.
#[derive(Default)]
pub(super) struct Scope {
    with: Vec<(String, Option<Columns>)>,
    /// By query, how many there were before it.
    before: Vec<usize>,
}

/// A name as the engine has it.
pub(super) fn known(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

impl Scope {
    /// Goes into a query.
    pub(super) fn enter(&mut self, query: &Query) {
        self.before.push(self.with.len());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = aliased(Some(&cte.alias), self.of_query(&cte.query));
            self.with.push((known(&cte.alias.name), columns));
        }
    }

    /// Goes out of the query that it went into last.
    pub(super) fn leave(&mut self) {
        self.with.truncate(self.before.pop().unwrap_or_default());
    }

    /// The names that mean something of its own in a query; nothing where that is not known.
    pub(super) fn own(&self, query: &Query) -> Option<Columns> {
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        if query.with.is_some() {
            return None;
        }
        let mut own = Columns::new();
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                own.push(known(alias));
            }
        }
        own.extend(self.of_all(&select.from)?);
        Some(own)
    }

    /// The columns of all that stands in FROM.
    pub(super) fn of_all(&self, from: &[TableWithJoins]) -> Option<Columns> {
        let mut columns = Columns::new();
        for from in from {
            columns.extend(self.of_from(from)?);
        }
        Some(columns)
    }

    /// The columns of what stands in FROM.
    pub(super) fn of_factor(&self, factor: &TableFactor) -> Option<Columns> {
        match factor {
            // The one that there is has one column, by its own name.
            TableFactor::Table { name, alias, args: Some(_), .. } => {
                let own = alias.as_ref().map(|alias| &alias.name).or_else(|| name.0.last()?.as_ident())?;
                aliased(alias.as_ref(), Some(vec![known(own)]))
            }
            TableFactor::Table { name, alias, .. } => aliased(alias.as_ref(), self.of_name(name)),
            TableFactor::Derived { subquery, alias, .. } => aliased(alias.as_ref(), self.of_query(subquery)),
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.of_from(table_with_joins),
            _ => None,
        }
    }

    fn of_from(&self, from: &TableWithJoins) -> Option<Columns> {
        let mut columns = self.of_factor(&from.relation)?;
        for join in &from.joins {
            columns.extend(self.of_factor(&join.relation)?);
        }
        Some(columns)
    }

    fn of_query(&self, query: &Query) -> Option<Columns> {
        if query.with.is_some() { None } else { self.of_body(&query.body) }
    }

    fn of_body(&self, body: &SetExpr) -> Option<Columns> {
        match body {
            SetExpr::Select(select) => self.of_select(select),
            SetExpr::Query(query) => self.of_query(query),
            SetExpr::SetOperation { left, .. } => self.of_body(left),
            SetExpr::Values(values) => {
                let columns = values.rows.first()?.content.len();
                Some((1..=columns).map(|number| format!("column{number}")).collect())
            }
            _ => None,
        }
    }

    fn of_select(&self, select: &Select) -> Option<Columns> {
        let is_all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
        // Looked for once, since in each other they would take a power of how often they are shown.
        let all = if select.projection.iter().any(is_all) { self.of_all(&select.from)? } else { Columns::new() };
        let mut columns = Columns::new();
        for item in &select.projection {
            if columns.len() > MAX_COLUMNS {
                return None;
            }
            match item {
                SelectItem::Wildcard(_) => columns.extend(all.iter().cloned()),
                SelectItem::QualifiedWildcard(..) => return None,
                SelectItem::UnnamedExpr(expr) => columns.push(called(expr)),
                item => columns.extend(shown_as(item)),
            }
        }
        Some(columns)
    }

    fn of_name(&self, name: &ObjectName) -> Option<Columns> {
        let last = known(name.0.last().and_then(ObjectNamePart::as_ident)?);
        if name.0.len() == 1
            && let Some((_, columns)) = self.with.iter().rev().find(|(known, _)| *known == last)
        {
            return columns.clone();
        }
        if let Some(table) = TableDef::shown().find(|table| table.name == last) {
            return Some(table.columns().map(|column| column.name.to_owned()).collect());
        }
        if let Some(made) = imports::ALL.iter().chain(MADE).find(|table| table.name == last) {
            return Some(made.schema().fields().iter().map(|field| field.name().clone()).collect());
        }
        let view = views::columns_of(&last);
        (!view.is_empty()).then(|| view.iter().map(|column| column.name.to_owned()).collect())
    }
}

/// Columns by the names that an alias gives them, if it gives any: to all, or it is not known which.
fn aliased(alias: Option<&TableAlias>, columns: Option<Columns>) -> Option<Columns> {
    let names = alias.map_or(&[][..], |alias| alias.columns.as_slice());
    if names.is_empty() {
        return columns;
    }
    let named: Columns = names.iter().map(|column| known(&column.name)).collect();
    // A column that two tables are joined by is there once.
    let different = |columns: &Columns| columns.iter().collect::<HashSet<_>>().len();
    columns.filter(|columns| different(columns) == different(&named)).map(|_| named)
}
