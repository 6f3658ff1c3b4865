//! What a caller may say: one query, or a plain `EXPLAIN` of one.
//!
//! Refuses by its tokens what could cost without bound before the engine counts anything; [`check`] refuses what the parsed
//! statement says. Puts the `tags` column into `tag('env')`.

use std::{borrow::Cow, collections::HashSet, ops::ControlFlow};

use datafusion::sql::{
    parser::{DFParserBuilder, Statement},
    sqlparser::{
        ast::{
            self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
            UnaryOperator, Value, VisitMut, VisitorMut,
        },
        dialect::PostgreSqlDialect,
        keywords::Keyword,
        tokenizer::{Location, Token, Tokenizer},
    },
};

pub(super) use self::{labels::called, numbers::plain, standard::joined};
use self::{labels::shown_as, named::Scope};
use super::{
    clock,
    error::QueryError,
    reading::{
        Reading,
        parameters::parameter,
        rewrite::{call, rewrite, taken},
    },
    views,
};

mod calls;
mod check;
mod columns;
mod found;
mod labels;
mod lateral;
mod merged;
mod named;
mod numbers;
mod standard;
mod types;

/// The longest statement.
pub(crate) const MAX_SQL_BYTES: usize = 64 << 10;

/// What is said of a text with a letter of no number, which none has.
pub(crate) const NUL: &str = "invalid byte sequence for encoding \"UTF8\": 0x00";

/// How deep expressions and subqueries may be nested.
const MAX_DEPTH: usize = 50;

/// The most operators of a statement. A chain of them, as `a + b + c`, is as deep as it is long, for the parser, the engine
/// and whoever drops it.
const MAX_OPERATORS: usize = 400;

/// How many of them may be `+ - * / ||`, which are functions: the engine asks each for its type again and again, which takes
/// the third power of their number.
const MAX_CALCULATIONS: usize = 100;

/// How deep calls of functions may be nested: the time that the engine plans them for grows with a power of it.
const MAX_CALLS_DEEP: usize = 12;

/// A statement that may be planned.
pub(crate) fn parse(sql: &str, reading: Option<&Reading>) -> Result<Statement, QueryError> {
    if sql.len() > MAX_SQL_BYTES {
        return refuse(format!("a statement may be {MAX_SQL_BYTES} bytes long; this one is {}", sql.len()));
    }
    if sql.contains('\0') {
        return Err(QueryError::Invalid(NUL.into()));
    }
    let dialect = PostgreSqlDialect {};
    // What is no token is an error that the parser says.
    let tokens = Tokenizer::new(&dialect, sql).tokenize().unwrap_or_default();
    let (operators, calculations) = operators(&tokens);
    if calls_deep(&tokens) > MAX_CALLS_DEEP {
        return refuse(format!("calls of functions may be nested {MAX_CALLS_DEEP} deep"));
    }
    if operators > MAX_OPERATORS {
        return refuse(format!(
            "a statement may have {MAX_OPERATORS} operators; this one has {operators}: write a IN (…) in place of \
             a = … OR a = …"
        ));
    }
    if calculations > MAX_CALCULATIONS {
        return refuse(format!("a statement may have {MAX_CALCULATIONS} of + - * / ||; this one has {calculations}"));
    }
    let sql = focus(sql).map_or(Cow::Borrowed(sql), Cow::Owned);
    let sql = symmetric(&sql).map_or(sql, Cow::Owned);
    let mut statements = DFParserBuilder::new(&*sql)
        .with_dialect(&dialect)
        .with_recursion_limit(MAX_DEPTH)
        .build()
        .and_then(|mut parser| parser.parse_statements())?;
    let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) else {
        return refuse("a request holds exactly one statement");
    };
    match statement {
        Statement::Statement(mut statement) => {
            allow(&mut statement, reading)?;
            Ok(Statement::Statement(statement))
        }
        Statement::Explain(mut explain) => {
            let options = &explain.options;
            if options.analyze || options.verbose || options.format.is_some() {
                return refuse("only a plain EXPLAIN is allowed, without ANALYZE, VERBOSE or FORMAT");
            }
            match explain.statement.as_mut() {
                Statement::Statement(statement) => allow(statement, reading)?,
                _ => return only_queries(),
            }
            Ok(Statement::Explain(explain))
        }
        _ => only_queries(),
    }
}

/// A statement over the view `focus` with the names of its columns as FOCUS writes them: there they are what they are in any case, as
/// in the queries that the FinOps Foundation publishes. Nothing for other statements. Quotes are put around names and nothing else is
/// touched, so that what runs is what was looked at.
fn focus(sql: &str) -> Option<String> {
    use Keyword::{FROM, JOIN};
    let plain = |token: &Token, name: &str| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(name));
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
    let shown: Vec<&Token> =
        tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let precedes_a_relation = |token: &Token| match token {
        Token::Word(word) => matches!(word.keyword, FROM | JOIN),
        token => matches!(token, Token::Comma | Token::Period | Token::LParen),
    };
    if !shown
        .windows(2)
        .any(|pair| matches!(pair, [before, name] if plain(name, "focus") && precedes_a_relation(before)))
    {
        return None;
    }
    let columns = views::columns_of("focus");
    let named = tokens.iter().filter_map(|token| {
        let column = columns.iter().find(|column| plain(&token.token, column.name))?;
        // As long in any case, since names are ASCII.
        Some((token.span.start, column.name.len(), format!("\"{}\"", column.name)))
    });
    Some(replaced(sql, named))
}

/// `BETWEEN SYMMETRIC a AND b` as `BETWEEN NOT a AND b`, which means nothing else and the parser knows ([`standard::symmetric`]). Nothing
/// for other statements.
fn symmetric(sql: &str) -> Option<String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
    let shown: Vec<_> = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let places = shown.windows(2).filter_map(|pair| {
        let [before, at] = pair else { return None };
        let (Token::Word(between), Token::Word(word)) = (&before.token, &at.token) else { return None };
        let is_it = between.keyword == Keyword::BETWEEN && word.quote_style.is_none();
        let instead = match word.value.to_lowercase().as_str() {
            "symmetric" => "NOT",
            "asymmetric" => "",
            _ => return None,
        };
        is_it.then(|| (at.span.start, word.value.len(), instead.to_owned()))
    });
    let places: Vec<_> = places.collect();
    if places.is_empty() { None } else { Some(replaced(sql, places)) }
}

/// A statement with others in the place of some tokens: where each of those begins, and how many letters it has.
fn replaced(sql: &str, places: impl IntoIterator<Item = (Location, usize, String)>) -> String {
    let mut places = places.into_iter();
    let (mut out, mut next) = (String::with_capacity(sql.len() * 2), places.next());
    let (mut line, mut column, mut written) = (1, 1, 0);
    for letter in sql.chars() {
        if let Some((_, length, instead)) = next.take_if(|(start, ..)| (start.line, start.column) == (line, column)) {
            out.push_str(&instead);
            written = length;
            next = places.next();
        }
        match written.checked_sub(1) {
            Some(less) => written = less,
            None => out.push(letter),
        }
        (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    out
}

/// How many operators a statement has, or more: everything that is not a name, a constant, a comma or a parenthesis; and
/// how many of them are `+ - * / ||`.
fn operators(tokens: &[Token]) -> (usize, usize) {
    use Keyword::{
        AND, AT, BETWEEN, CASE, COLLATE, EXCEPT, ILIKE, INTERSECT, IS, LIKE, NOT, OR, OVERLAPS, SIMILAR, UNION,
    };
    let chained = |token: &Token| match token {
        Token::Word(word) => matches!(
            word.keyword,
            AND | AT
                | BETWEEN
                | CASE
                | COLLATE
                | EXCEPT
                | ILIKE
                | INTERSECT
                | IS
                | LIKE
                | NOT
                | OR
                | OVERLAPS
                | SIMILAR
                | UNION
        ),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Whitespace(_) | Token::EOF => false,
        Token::Comma | Token::LParen | Token::RParen | Token::Period | Token::SemiColon => false,
        _ => true,
    };
    let calculated =
        |token: &Token| matches!(token, Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::StringConcat);
    let calculations = tokens.iter().filter(|token| calculated(token));
    (tokens.iter().filter(|token| chained(token)).count(), calculations.count())
}

/// Words after which a parenthesis opens no call.
const NO_CALL: &[Keyword] = &[
    Keyword::SELECT,
    Keyword::FROM,
    Keyword::JOIN,
    Keyword::AS,
    Keyword::IN,
    Keyword::EXISTS,
    Keyword::WHERE,
    Keyword::ON,
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::BY,
    Keyword::UNION,
    Keyword::ALL,
];

/// How deep parentheses that follow a name are in each other.
fn calls_deep(tokens: &[Token]) -> usize {
    let (mut open, mut calls, mut deepest, mut named) = (Vec::new(), 0, 0, false);
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        match token {
            Token::LParen => {
                open.push(named);
                calls += usize::from(named);
            }
            Token::RParen => calls -= usize::from(open.pop() == Some(true)),
            _ => {}
        }
        named = matches!(token, Token::Word(word) if !NO_CALL.contains(&word.keyword));
        deepest = deepest.max(calls);
    }
    deepest
}

fn refuse<T>(why: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::Refused(why.into()))
}

fn only_queries<T>() -> Result<T, QueryError> {
    refuse("only queries are allowed: SELECT, WITH, VALUES, and EXPLAIN of them")
}

fn allow(statement: &mut ast::Statement, reading: Option<&Reading>) -> Result<(), QueryError> {
    let ast::Statement::Query(query) = statement else { return only_queries() };
    if let Some(reading) = reading
        && let ControlFlow::Break(why) = rewrite(query, reading)
    {
        return refuse(why);
    }
    check::check(query)?;
    if let ControlFlow::Break(why) = VisitMut::visit(query.as_mut(), &mut merged::Joins::default()) {
        return refuse(why);
    }
    if let ControlFlow::Break(why) = VisitMut::visit(query.as_mut(), &mut Written::default()) {
        return refuse(why);
    }
    // The engine plans none, and says so in words of its own.
    let row = ast::visit_expressions(query.as_ref(), |expr| match expr {
        Expr::Tuple(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if row.is_break() { refuse(ROWS) } else { Ok(()) }
}

const ROWS: &str = "a row is only compared with others, by = <> < <= > >= and IN (…), and not with those of a query; write it out column by \
                    column";

/// `tag('env')` → `tag(tags, 'env')`; `generate_series(1, 3) AS n` → `generate_series(1, 3) AS n (n)`; `date_trunc('day', time, zone)` → `date_trunc('day', time AT TIME ZONE zone)`; and `time::date` and `time AT TIME ZONE 'Europe/Berlin'` are called as Postgres calls them, or, where that name is taken, with a number: the
/// engine calls both `time`, and then finds two columns of that name where rows are ordered by the other. So is what is there again.
#[derive(Default)]
struct Written {
    /// What rows are ordered by with its table before it: the engine finds the other of that name ambiguous.
    ordered: HashSet<String>,
    scope: Scope,
}

impl VisitorMut for Written {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<String> {
        self.scope.enter(query);
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            columns::named_within(&mut cte.query, Some(&cte.alias), &mut self.scope);
        }
        standard::fetched(query)?;
        standard::listed(&mut query.body)?;
        columns::numbered(query);
        columns::told_apart(query);
        ast::visit_expressions(&query.order_by, |expr| {
            if matches!(expr, Expr::CompoundIdentifier(_)) {
                self.ordered.extend(shown_as(&ast::SelectItem::UnnamedExpr(expr.clone())));
            }
            ControlFlow::Continue(())
        })
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<String> {
        self.scope.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<String> {
        calls::one_group(select)?;
        found::shown(select);
        calls::keys_numbered(select);
        columns::named(select, &self.ordered, &self.scope, None);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<String> {
        if let ast::TableFactor::Derived { lateral: is_lateral, subquery, alias, .. } = factor {
            columns::named_within(subquery, alias.as_ref(), &mut self.scope);
            if *is_lateral {
                standard::fetched(subquery)?;
                lateral::ranked(subquery, &self.scope);
            }
        }
        if let ast::TableFactor::Table { name, args: Some(args), alias, .. } = factor
            && check::is_series(name)
        {
            ast::visit_expressions_mut(args, |expr| {
                standard::in_seconds(expr);
                ControlFlow::<String>::Continue(())
            })?;
            let own = Ident::new(check::SERIES);
            *name = ast::ObjectName(vec![ast::ObjectNamePart::Identifier(own.clone())]);
            let alias =
                alias.get_or_insert(ast::TableAlias { explicit: true, name: own, columns: Vec::new(), at: None });
            if alias.columns.is_empty() {
                alias.columns.push(ast::TableAliasColumnDef { name: alias.name.clone(), data_type: None });
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        if let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr
            && let [part] = name.0.as_slice()
            && part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case("tag"))
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = list.args.as_slice()
            && matches!(value.value, Value::SingleQuotedString(_))
        {
            let column = Expr::Identifier(Ident::new("tags"));
            list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(column)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        calls::known(expr)?;
        numbers::spelled(expr);
        numbers::kept(expr);
        types::meant(expr);
        standard::in_words(expr);
        standard::arguments(expr);
        zoned(expr)?;
        truncated_by(expr);
        truncated(expr)?;
        regroup(expr);
        standard::symmetric(expr)?;
        standard::by_parts(expr)
    }
}

/// `time AT TIME ZONE '+05:30'` → `time AT TIME ZONE '-05:30'`: the engine's zones have the other sign, and fewer names, than those of Postgres.
/// In a session it is a function by now ([`clock`]), which reads the same.
fn zoned(expr: &mut Expr) -> ControlFlow<String> {
    let Expr::AtTimeZone { timestamp, time_zone } = expr else { return ControlFlow::Continue(()) };
    // The engine puts an instant into no zone that comes later.
    if parameter(time_zone).is_some() {
        *expr = call("timezone", [taken(time_zone), taken(timestamp)]);
        return ControlFlow::Continue(());
    }
    let (known, written) = match &**time_zone {
        Expr::Value(value) => match value.value.clone().into_string() {
            Some(name) => (clock::spelled(&name), name),
            None => return ControlFlow::Continue(()),
        },
        Expr::Interval(ahead) => (None, ahead.to_string()),
        _ => return ControlFlow::Continue(()),
    };
    let Some(mut known) = known else { return ControlFlow::Break(clock::unknown(&written)) };
    if known == "+00:00" {
        "UTC".clone_into(&mut known);
    }
    **time_zone = Expr::Value(Value::SingleQuotedString(known).into());
    ControlFlow::Continue(())
}

/// `date_trunc('day', time, $1)` → `timezone($1, date_trunc('day', timezone($1, time)))`: the engine puts an instant into no zone that comes later.
fn truncated_by(expr: &mut Expr) {
    if let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr
        && name.to_string().eq_ignore_ascii_case("date_trunc")
        && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(time)), FunctionArg::Unnamed(FunctionArgExpr::Expr(zone))] =
            list.args.as_mut_slice()
        && parameter(zone).is_some()
    {
        let zone = taken(zone);
        *time = call("timezone", [zone.clone(), taken(time)]);
        list.args.pop();
        *expr = call("timezone", [zone, taken(expr)]);
    }
}

/// `date_trunc` with a zone, as the engine has it: it truncates an instant by the clock of the zone that it is put into.
fn truncated(expr: &mut Expr) -> ControlFlow<String> {
    if let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr
        && name.to_string().eq_ignore_ascii_case("date_trunc")
        && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(time)), FunctionArg::Unnamed(FunctionArgExpr::Expr(zone))] =
            list.args.as_mut_slice()
        && let Expr::Value(value) = zone
    {
        if let Some(name) = value.value.clone().into_string() {
            let Some(mut known) = clock::spelled(&name) else { return ControlFlow::Break(clock::unknown(&name)) };
            // UTC by another name, which no session puts into a zone of its own.
            if known.eq_ignore_ascii_case("utc") || known == "+00:00" {
                "Etc/UTC".clone_into(&mut known);
            }
            value.value = Value::SingleQuotedString(known);
        }
        let nothing = || Expr::Value(Value::Null.into());
        let [timestamp, time_zone] = [&mut *time, zone].map(|part| Box::new(std::mem::replace(part, nothing())));
        *time = Expr::Nested(Box::new(Expr::AtTimeZone { timestamp, time_zone }));
        list.args.pop();
    }
    ControlFlow::Continue(())
}

/// `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`; the parser takes all that follows for what `a` is compared with. What
/// binds looser than the expression that it stands in goes around that. In parentheses nothing does.
fn regroup(expr: &mut Expr) {
    let (inner, is_and) = match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => (right, false),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => (expr, false),
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => (right, true),
        _ => return,
    };
    let looser = |op: &BinaryOperator| *op == BinaryOperator::Or || (*op == BinaryOperator::And && !is_and);
    let is_looser = |expr: &Expr| matches!(expr, Expr::BinaryOp { op, .. } if looser(op));
    if !is_looser(inner) {
        return;
    }
    let nothing = || Expr::Value(Value::Null.into());
    let mut outer = std::mem::replace(&mut **inner, nothing());
    let mut first = &mut outer;
    while is_looser(first) {
        let Expr::BinaryOp { left, .. } = first else { return };
        first = left;
    }
    **inner = std::mem::replace(first, nothing());
    *first = std::mem::replace(expr, nothing());
    *expr = outer;
}

#[cfg(test)]
mod tests;
