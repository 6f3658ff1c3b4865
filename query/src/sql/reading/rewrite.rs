//! What clients of Postgres write, in words that the engine knows.
//!
//! Names of `pg_catalog` without their schema, arrays that are only compared with, operators and collations that are spelled out,
//! casts to types that only catalogs have, and functions about the server, which are constants here ([`super::names`]).

use std::{collections::HashSet, ops::ControlFlow};

use arrow::datatypes::DataType as Kind;
use datafusion::sql::sqlparser::{
    ast::{
        BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
        ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, Value, ValueWithSpan, Visit,
        VisitMut, Visitor, VisitorMut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use super::{
    Reading, catalog, compared, elements, introspection, names,
    parameters::{alone, bare, is_array, is_span, keeping, parameter, place, sql_name},
    paths,
};
use crate::{reports::quoted, sql::statement::called};

/// Changes a query to what the engine knows, or says why it is refused.
pub(crate) fn rewrite(query: &mut Query, reading: &Reading) -> ControlFlow<String> {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Paths { reading });
    let of_catalog = of_catalogs(query);
    VisitMut::visit(query, &mut Rewrite { reading, of_catalog, left: compared::MAX_EACH })
}

/// Whether a statement is about catalogs and nothing else: what is NULL over these may be something over a table.
fn of_catalogs(query: &Query) -> bool {
    let mut seen = Relations::default();
    let _: ControlFlow<()> = Visit::visit(query, &mut seen);
    seen.others.retain(|name| !seen.with.contains(name));
    seen.catalogs && seen.others.is_empty()
}

/// What a statement reads.
#[derive(Default)]
struct Relations {
    catalogs: bool,
    /// By name, what it reads beside catalogs, and its own `WITH` queries.
    others: Vec<String>,
    with: Vec<String>,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with.extend(with.map(|cte| cte.alias.name.value.to_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let parts: Vec<String> =
            name.0.iter().filter_map(ObjectNamePart::as_ident).map(|ident| ident.value.to_lowercase()).collect();
        match parts.as_slice() {
            // The words of SQL are put together as what stands in tables is.
            [.., name] if name == catalog::KEYWORDS => self.others.push(name.clone()),
            [schema, _] if schema == "pg_catalog" || schema == "information_schema" => self.catalogs = true,
            [one] if catalog::is_catalog(one) => self.catalogs = true,
            others => self.others.push(others.join(".")),
        }
        ControlFlow::Continue(())
    }
}

/// Puts the schemas of the search path in the place of a query for them by their numbers, and types in that of one that calls itself, before it
/// is asked what a statement is about.
struct Paths<'a> {
    reading: &'a Reading,
}

impl VisitorMut for Paths<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let numbered = paths::numbered(query, self.reading);
        let other = numbered.as_deref().or_else(|| introspection::types(query)).and_then(asked);
        if let Some(other) = other {
            *query = other;
        }
        ControlFlow::Continue(())
    }
}

struct Rewrite<'a> {
    reading: &'a Reading,
    /// Whether the statement is about catalogs alone, whose arrays are never there.
    of_catalog: bool,
    /// The elements of arrays that may still be compared with one by one.
    left: usize,
}

impl VisitorMut for Rewrite<'_> {
    type Break = String;

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<String> {
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_slice()
            && catalog::is_catalog(&ident.value.to_lowercase())
        {
            name.0.insert(0, ObjectNamePart::Identifier(Ident::new("pg_catalog")));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        if let TableFactor::Table { name, args, .. } = factor
            && args.is_some()
        {
            if name.0.len() == 2 && name.0.first().is_some_and(is_pg_catalog) {
                name.0.remove(0);
            }
            if let Some(args) = args
                && name.to_string().eq_ignore_ascii_case("generate_series")
            {
                for arg in &mut args.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                        self.timed(arg);
                    }
                }
            }
            // A table here, which has no arguments.
            if name.to_string().eq_ignore_ascii_case(catalog::KEYWORDS) {
                *args = None;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        self.name(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if parameter(right).is_some() => {
                *expr = within(taken(left), self.listed(right), false);
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } if parameter(right).is_some() => {
                *expr = within(taken(left), self.listed(right), true);
            }
            Expr::InSubquery { expr: of, subquery, negated } if paths::is_search_path(subquery) => {
                let (of, negated) = (taken(of), *negated);
                let schemas = paths::schemas(self.reading);
                let schemas = schemas.map(|schema| Expr::Value(Value::SingleQuotedString(schema).into())).collect();
                *expr = within(of, schemas, negated);
            }
            Expr::IsNull(of) if self.list(of).is_some() => *expr = Expr::Value(Value::Boolean(false).into()),
            Expr::IsNotNull(of) if self.list(of).is_some() => *expr = Expr::Value(Value::Boolean(true).into()),
            Expr::IsNull(of) | Expr::IsNotNull(of) if is_array(of) => {
                let parameter = bare(of);
                **of = parameter;
            }
            other => return self.each(other),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::Collate { expr: inner, .. } => *expr = taken(inner),
            Expr::BinaryOp { left, op, right } => {
                if let BinaryOperator::PGCustomBinaryOperator(path) = op
                    && let Some(known) = path.last().and_then(|name| operator(name))
                {
                    *op = known;
                }
                match op {
                    BinaryOperator::Plus | BinaryOperator::Minus if is_span(right) => self.timed(left),
                    BinaryOperator::Plus if is_span(left) => self.timed(right),
                    _ => {}
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(list) = elements::listed(right, self.of_catalog) {
                    *expr = within(taken(left), list, false);
                }
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                if let Some(list) = elements::listed(right, self.of_catalog) {
                    *expr = within(taken(left), list, true);
                }
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(escape) = escape_char.take().and_then(|escape| escape.value.into_string()) {
                    **pattern = escaped(&taken(pattern), &escape);
                }
            }
            Expr::Cast { .. } => self.cast(expr),
            // The engine's own leaves an instant an instant, and compares it as one.
            Expr::AtTimeZone { timestamp, time_zone } => {
                *expr = written(&format!("timezone({time_zone}, {timestamp})"))
            }
            Expr::Subquery(query) if self.of_catalog => {
                if let Some(instead) = scalar(query) {
                    *expr = keeping(expr, instead);
                }
            }
            // Of schemas it is a name: that of a schema for what is temporary, of which there is none.
            Expr::CompoundFieldAccess { root, .. } if self.of_catalog => {
                let kind = if paths::is_schemas(root) { "VARCHAR" } else { "INTEGER" };
                *expr = keeping(expr, written(&format!("CAST(NULL AS {kind})")));
            }
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => {
                let at = place(name);
                let given = at.and_then(|at| self.reading.parameters.get(at)?.as_ref());
                if at.is_some_and(|at| self.reading.lists.get(at).is_some_and(Option::is_some)) {
                    *name = alone(name);
                } else if let Some(kind) = given.and_then(sql_name) {
                    *expr = written(&format!("CAST({name} AS {kind})"));
                }
            }
            Expr::Function(function) => {
                if function.name.0.len() == 2 && function.name.0.first().is_some_and(is_pg_catalog) {
                    function.name.0.remove(0);
                }
                if let Some(text) = names::instead(function, self.reading, self.of_catalog) {
                    *expr = keeping(expr, written(&text));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Rewrite<'_> {
    /// What stands in the array that came for a parameter.
    fn list(&self, parameter: &Expr) -> Option<&Vec<String>> {
        match parameter {
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => {
                self.reading.lists.get(place(name)?)?.as_ref()
            }
            Expr::Cast { expr, .. } | Expr::Nested(expr) => self.list(expr),
            _ => None,
        }
    }

    /// The same as expressions. Before it came, and where it is NULL, the parameter stands for all of it, so that it has the type of what
    /// it is compared with.
    fn listed(&self, parameter: &mut Expr) -> Vec<Expr> {
        match self.list(parameter) {
            Some(list) => elements::fitted(parameter, list.iter().map(|element| written(element)).collect()),
            None => vec![bare(parameter)],
        }
    }

    /// Writes out a comparison with the elements of an array, if they are not too many.
    fn each(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Some((left, array, is_all)) = compared::parts(expr) else { return ControlFlow::Continue(()) };
        if !compared::is_plain(left) {
            return ControlFlow::Continue(());
        }
        let parameter = parameter(array).map(str::to_owned);
        let elements = if parameter.is_some() {
            self.listed(array)
        } else {
            let Some(elements) = elements::listed(array, self.of_catalog) else { return ControlFlow::Continue(()) };
            elements
        };
        if let Some(left) = self.left.checked_sub(elements.len()) {
            self.left = left;
            *expr = compared::with_each(expr, elements, is_all);
        } else if let Some(name) = parameter {
            let (most, all) = (compared::MAX_EACH, compared::MAX_EACH - self.left + elements.len());
            return ControlFlow::Break(format!(
                "{name} is an array: other than by = ANY and <> ALL a statement may compare with {most} elements; this one has {all}"
            ));
        }
        ControlFlow::Continue(())
    }

    /// Says of a parameter beside a span of time, or of a series, that it is the time that its client gave: the engine would take it for a span
    /// as well, or a number.
    fn timed(&self, side: &mut Expr) {
        let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = &*side else { return };
        let given = place(name).and_then(|at| self.reading.parameters.get(at)?.as_ref());
        if let Some(Kind::Timestamp(_, zone)) = given {
            let kind = if zone.is_some() { "TIMESTAMP WITH TIME ZONE" } else { "TIMESTAMP" };
            let cast = format!("CAST({name} AS {kind})");
            *side = written(&cast);
        }
    }

    /// Names columns that have no name as Postgres does, where the engine would name them by what they are changed to, or would refuse
    /// them since it finds two that are the same.
    fn name(&self, columns: &mut [SelectItem]) {
        let mut seen = HashSet::new();
        let all: Vec<String> = columns
            .iter()
            .filter(|column| matches!(column, SelectItem::QualifiedWildcard(..)))
            .map(|column| column.to_string().to_lowercase())
            .collect();
        for column in columns {
            let SelectItem::UnnamedExpr(expr) = column else { continue };
            let written = expr.to_string().to_lowercase();
            // `n.oid, n.*` has it twice.
            let with_all = written.rsplit_once('.').is_some_and(|(of, _)| all.contains(&format!("{of}.*")));
            let again = !seen.insert(written) || with_all;
            let changes = match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => false,
                Expr::Value(_) | Expr::AtTimeZone { .. } => true,
                Expr::Function(function) => {
                    self.of_catalog || names::instead(function, self.reading, self.of_catalog).is_some()
                }
                _ => self.of_catalog,
            };
            if again || changes {
                let name = called(expr);
                let free = (2..).map(|number| format!("{name}_{number}"));
                let own = (!with_all).then(|| name.clone());
                let name = own.into_iter().chain(free).find(|name| seen.insert(format!("\"{name}\"")));
                let alias = Ident::with_quote('"', name.unwrap_or_default());
                *column = SelectItem::ExprWithAlias { expr: taken(expr), alias };
            }
        }
    }

    /// A cast to a type that only catalogs have.
    fn cast(&self, expr: &mut Expr) {
        let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
        if matches!(data_type, DataType::Array(_))
            && let Some(name) = parameter(inner)
        {
            // Where it is compared with, or asked whether it is NULL, it is not any more: all else is refused before a value comes, too.
            let refused = (!self.of_catalog).then(|| Expr::Value(Value::Placeholder(alone(name)).into()));
            *expr = refused.unwrap_or_else(|| taken(inner));
            return;
        }
        let (name, length) = match data_type {
            DataType::Regclass => ("regclass".to_owned(), String::new()),
            DataType::Custom(name, length) => {
                let name = name.to_string().to_lowercase().replace('"', "");
                let length = if length.is_empty() { String::new() } else { format!("({})", length.join(", ")) };
                (name.strip_prefix("pg_catalog.").map_or(name.clone(), str::to_owned), length)
            }
            _ => return,
        };
        match name.as_str() {
            "regclass" => {
                let parameter = parameter(inner).map(|_| written(&format!("CAST({inner} AS VARCHAR)")));
                *expr = written(&names::number_of(&parameter.unwrap_or_else(|| taken(inner))));
            }
            "oid" | "xid" | "cid" => *data_type = DataType::Integer(None),
            "regtype" | "regproc" | "regnamespace" | "regrole" | "name" | "char" | "citext" => {
                *data_type = DataType::Varchar(None);
            }
            known => {
                let known = format!("{known}{length}");
                let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&known);
                if let Ok(parsed) = parsed.and_then(|mut parser| parser.parse_data_type()) {
                    *data_type = parsed;
                }
            }
        }
    }
}

fn is_pg_catalog(part: &ObjectNamePart) -> bool {
    part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case("pg_catalog"))
}

/// Lets a query stand for a value, as it does in catalogs, where it has one row at most: the engine wants to see that. One over what
/// never has rows is NULL.
fn scalar(query: &mut Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_mut_slice()
    else {
        return None;
    };
    let called = match item {
        Expr::Function(function) => function.name.to_string().to_lowercase(),
        _ => String::new(),
    };
    let empty = |factor: &TableFactor| match factor {
        TableFactor::Table { name, .. } => name
            .0
            .last()
            .and_then(ObjectNamePart::as_ident)
            .is_some_and(|name| catalog::is_empty(&name.value.to_lowercase())),
        _ => false,
    };
    if called != "count" && select.from.iter().any(|from| empty(&from.relation)) {
        return Some(written("CAST(NULL AS VARCHAR)"));
    }
    if !["count", "max", "min", "sum", "bool_or", "bool_and"].contains(&called.as_str()) {
        *item = written(&format!("max({item})"));
        (query.order_by, query.limit_clause) = (None, None);
    }
    None
}

/// The expression of a text that is written here.
pub(crate) fn written(text: &str) -> Expr {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_expr());
    debug_assert!(parsed.is_ok(), "{text}");
    parsed.unwrap_or(Expr::Value(Value::Null.into()))
}

/// A call of a function.
pub(crate) fn call(name: &str, args: impl IntoIterator<Item = Expr>) -> Expr {
    let mut call = written(&format!("{name}()"));
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut call {
        list.args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    }
    call
}

/// The query of a text that is written here.
fn asked(text: &str) -> Option<Query> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    debug_assert!(parsed.is_ok(), "{text}");
    parsed.ok().map(|query| *query)
}

/// What stands in a place, which is left empty.
pub(crate) fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

/// A pattern in which a backslash stands for what escaped; the engine knows no other. What escapes itself is put aside on the way, as a
/// letter that is nobody's.
fn escaped(pattern: &Expr, escape: &str) -> Expr {
    if escape == "\\" {
        return pattern.clone();
    }
    let plain = format!("replace({pattern}, '\\', '\\\\')");
    if escape.is_empty() {
        return written(&plain);
    }
    let [once, twice] = [quoted(escape), quoted(&escape.repeat(2))];
    written(&format!("replace(replace(replace({plain}, {twice}, '\u{e000}'), {once}, '\\'), '\u{e000}', {once})"))
}

fn within(left: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    if list.is_empty() {
        return Expr::Value(Value::Boolean(negated).into());
    }
    Expr::InList { expr: Box::new(left), list, negated }
}

/// The text of a constant.
pub(super) fn constant(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => value.value.clone().into_string(),
        Expr::Cast { kind: CastKind::DoubleColon | CastKind::Cast, expr, .. } | Expr::Nested(expr) => constant(expr),
        _ => None,
    }
}

fn operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        _ => return None,
    })
}

/// Whether a function is `ARRAY(SELECT …)`.
pub(super) fn is_array_of(args: &FunctionArguments) -> bool {
    matches!(args, FunctionArguments::Subquery(_))
}
