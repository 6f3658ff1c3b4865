//! What a parsed statement may not say: what the engine would read in another way than the standard does, and would answer
//! wrongly without a word; and what could cost without bound before the engine counts anything.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, NamedWindowDefinition, NamedWindowExpr, ObjectName, OrderByKind,
    Query, Select, SetExpr, SetOperator, SetQuantifier, TableFactor, TypedString, Value, ValueWithSpan, Visit, Visitor,
    WindowFrameBound, WindowSpec, WindowType, visit_relations,
};

use super::{QueryError, refuse, types};
use crate::sql::{functions::MAX_SCALAR_BYTES, interpolated, ordered, reading::arrays::ALONE, views};

/// The table function that there is.
pub(super) const SERIES: &str = "generate_series";

/// The most tables that a statement may name, once common table expressions are put in where they are used.
const MAX_TABLES: u64 = 32;

/// The most expressions by which rows are grouped, parted or ordered: the engine's planning takes the square of their number.
const MAX_BY: usize = 64;

/// The most columns of a CUBE: it groups by each of their 2ⁿ subsets.
const MAX_CUBE: usize = 6;

/// The furthest that the frame of a window may reach, in rows or units.
const MAX_FRAME: u64 = 1 << 40;

/// Refuses a query that may not be planned.
pub(super) fn check(query: &Query) -> Result<(), QueryError> {
    let mut check = Check { costs: views::costs(), factors: 0 };
    if let ControlFlow::Break(why) = Visit::visit(query, &mut check) {
        return refuse(why);
    }
    if tables(query, &check.costs).max(check.factors) > MAX_TABLES {
        return refuse(format!(
            "a statement may name {MAX_TABLES} tables, WITH queries counted wherever they are used"
        ));
    }
    Ok(())
}

/// What the statement names and how often it stands for how many tables.
struct Check {
    /// How many tables each view and each `WITH` query comes to.
    costs: HashMap<String, u64>,
    /// What stands in FROM, queries among it.
    factors: u64,
}

fn stop(why: impl Into<String>) -> ControlFlow<String> {
    ControlFlow::Break(why.into())
}

/// Whether a table function is the one that there is.
pub(super) fn is_series(name: &ObjectName) -> bool {
    let [part] = name.0.as_slice() else { return false };
    part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case(SERIES))
}

/// Refuses a list that is too long.
fn by(what: &str, length: usize) -> ControlFlow<String> {
    if length > MAX_BY {
        return stop(format!("{what} may have {MAX_BY} expressions; this one has {length}"));
    }
    ControlFlow::Continue(())
}

impl Visitor for Check {
    type Break = String;

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if !query.locks.is_empty() {
            return stop("FOR UPDATE and FOR SHARE are not supported: nothing is ever changed here");
        }
        operation(&query.body)?;
        if let Some(OrderByKind::Expressions(list)) = query.order_by.as_ref().map(|order| &order.kind) {
            by("ORDER BY", list.len())?;
        }
        let Some(with) = &query.with else { return ControlFlow::Continue(()) };
        if with.recursive {
            return stop("recursive queries are not allowed");
        }
        for cte in &with.cte_tables {
            let cost = tables(&cte.query, &self.costs);
            let known = self.costs.entry(cte.alias.name.value.to_lowercase()).or_default();
            *known = cost.max(*known);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        if select.into.is_some() {
            return stop("SELECT INTO is not allowed");
        }
        if let GroupByExpr::Expressions(list, _) = &select.group_by {
            let members = |key: &Expr| match key {
                Expr::Tuple(parts) => parts.len(),
                Expr::Cube(sets) | Expr::Rollup(sets) | Expr::GroupingSets(sets) => sets.iter().map(Vec::len).sum(),
                _ => 1,
            };
            by("GROUP BY", list.len().max(list.iter().map(members).sum()))?;
        }
        for NamedWindowDefinition(_, window) in &select.named_window {
            match window {
                NamedWindowExpr::NamedWindow(_) => return stop(OTHER_WINDOW),
                NamedWindowExpr::WindowSpec(spec) => self::window(spec)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        self.factors += 1;
        match factor {
            // The engine would leave the sample out and answer with all rows.
            TableFactor::Table { sample: Some(_), .. } => stop("TABLESAMPLE is not supported"),
            TableFactor::Table { with_ordinality: true, .. } => stop("WITH ORDINALITY is not supported"),
            // Made a batch at a time, as far as the time of the query goes.
            TableFactor::Table { name, args: Some(_), .. } if is_series(name) => ControlFlow::Continue(()),
            TableFactor::Table { args: None, .. } | TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => {
                ControlFlow::Continue(())
            }
            _ => stop("table functions are not allowed, but for generate_series"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            // The engine reads it as a regular expression of another kind, and finds other rows.
            Expr::SimilarTo { .. } => stop("SIMILAR TO is not supported; write LIKE or ~"),
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })
                if types::is_cut(data_type) =>
            {
                stop(format!("{data_type} is not supported; write varchar, or varchar(n)"))
            }
            // The engine would cut off integers, and look for others where such a cast is compared.
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })
                if types::is_coarse(data_type) =>
            {
                stop(format!("{data_type} is not supported; write round(x, n) with n below 0"))
            }
            // It would drop what goes beyond 64 bits.
            Expr::BinaryOp { op: BinaryOperator::PGBitwiseShiftLeft, .. } => {
                stop("<< is not supported; multiply by a power of two")
            }
            Expr::Cube(sets) | Expr::Rollup(sets) | Expr::GroupingSets(sets) if sets.len() > MAX_CUBE => {
                stop(format!("CUBE, ROLLUP and GROUPING SETS may have {MAX_CUBE} members"))
            }
            Expr::Function(Function { name, .. }) if is_series(name) => {
                stop("generate_series may only stand in FROM, with constants")
            }
            Expr::Function(Function { name, .. })
                if name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| is_of_matches(&name.value)) =>
            {
                stop(MATCHES)
            }
            Expr::Function(Function { over: Some(_), name, .. })
                if name
                    .0
                    .last()
                    .and_then(|part| part.as_ident())
                    .is_some_and(|name| name.value.eq_ignore_ascii_case("string_agg")) =>
            {
                stop("string_agg is not supported as a window function; join texts in a subquery with GROUP BY")
            }
            Expr::Function(Function { name, within_group, over, .. })
                if is_one_of(name, &ordered::NAMES) && (within_group.is_empty() || over.is_some())
                    || is_one_of(name, &interpolated::NAMES) && over.is_some() =>
            {
                stop(
                    "mode(), percentile_disc(0.5) and percentile_cont(0.5) are of a group: write WITHIN GROUP (ORDER BY …), without OVER",
                )
            }
            Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) => window(spec),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
        if let Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix(ALONE)
        {
            return stop(format!("${number} is an array: it may only be compared with, as in a = ANY(${number})"));
        }
        let length = value.value.clone().into_string().map_or(0, |text| text.len());
        if length as u128 > MAX_SCALAR_BYTES {
            return stop(format!("a literal may be {MAX_SCALAR_BYTES} bytes long; one is {length}"));
        }
        ControlFlow::Continue(())
    }
}

fn is_one_of(name: &ObjectName, known: &[&str]) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|name| known.iter().any(|known| name.value.eq_ignore_ascii_case(known)))
}

/// Whether a function gives what a pattern finds, as an array.
fn is_of_matches(name: &str) -> bool {
    ["regexp_match", "regexp_matches"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

const MATCHES: &str = "arrays are not supported, and so not what a pattern finds as one; write regexp_replace(text, '^.*(pattern).*$', '\\1')";

const OTHER_WINDOW: &str =
    "a window that builds on another one is not supported: write OVER w, or the whole window in parentheses";

/// The engine would leave out what the named window says, and takes a frame that is too far for none.
fn window(spec: &WindowSpec) -> ControlFlow<String> {
    if spec.window_name.is_some() {
        return stop(OTHER_WINDOW);
    }
    by("PARTITION BY", spec.partition_by.len())?;
    by("ORDER BY", spec.order_by.len())?;
    let bounds = spec.window_frame.iter().flat_map(|frame| [Some(&frame.start_bound), frame.end_bound.as_ref()]);
    for bound in bounds.flatten() {
        if let WindowFrameBound::Preceding(Some(reach)) | WindowFrameBound::Following(Some(reach)) = bound
            && let Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = reach.as_ref()
            && !number.parse().is_ok_and(|number: u64| number <= MAX_FRAME)
        {
            return stop(format!("a frame of a window may reach {MAX_FRAME} rows; write UNBOUNDED for all"));
        }
    }
    ControlFlow::Continue(())
}

/// The engine does not count how often a row is on each side.
fn operation(body: &SetExpr) -> ControlFlow<String> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return ControlFlow::Continue(()) };
    let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
    if all && matches!(op, SetOperator::Intersect | SetOperator::Except | SetOperator::Minus) {
        return stop("INTERSECT ALL and EXCEPT ALL are not supported; leave ALL out, or count with GROUP BY");
    }
    operation(left)?;
    operation(right)
}

/// How many tables a query comes to, itself counted as one: a query over no table is work too when it is put in often.
fn tables(query: &Query, costs: &HashMap<String, u64>) -> u64 {
    let mut total = 1_u64;
    let _: ControlFlow<()> = visit_relations(query.body.as_ref(), |name: &ObjectName| {
        let cost =
            name.0.last().and_then(|part| part.as_ident()).and_then(|ident| costs.get(&ident.value.to_lowercase()));
        total = total.saturating_add(cost.copied().unwrap_or(1));
        ControlFlow::Continue(())
    });
    total
}
