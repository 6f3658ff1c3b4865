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
        tokenizer::{Token, Tokenizer},
    },
};

use self::columns::{column_of, shown_as};
pub(super) use self::numbers::plain;
use super::{
    error::QueryError,
    reading::{Reading, rewrite::rewrite},
    views,
};

mod check;
mod columns;
mod numbers;
mod standard;
mod types;

/// The longest statement.
pub(crate) const MAX_SQL_BYTES: usize = 64 << 10;

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
    let mut named = tokens.iter().filter_map(|token| {
        let column = columns.iter().find(|column| plain(&token.token, column.name))?;
        Some((token.span.start, column.name))
    });
    let (mut out, mut next) = (String::with_capacity(sql.len() * 2), named.next());
    let (mut line, mut column, mut written) = (1, 1, 0);
    for letter in sql.chars() {
        if let Some((_, name)) = next.filter(|(start, _)| (start.line, start.column) == (line, column)) {
            out.extend(["\"", name, "\""]);
            // As long in any case, since names are ASCII.
            written = name.len();
            next = named.next();
        }
        match written.checked_sub(1) {
            Some(less) => written = less,
            None => out.push(letter),
        }
        (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    Some(out)
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
    if let Some(reading) = reading {
        rewrite(query, reading);
    }
    check::check(query)?;
    match VisitMut::visit(query.as_mut(), &mut Written::default()) {
        ControlFlow::Break(why) => refuse(why),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// `tag('env')` → `tag(tags, 'env')`; `generate_series(1, 3) AS n` → `generate_series(1, 3) AS n (n)`; `date_trunc('day', time, zone)` → `date_trunc('day', time AT TIME ZONE zone)`; and `time::date` and `time AT TIME ZONE 'Europe/Berlin'` are called as Postgres calls them, or, where that name is taken, with a number: the
/// engine calls both `time`, and then finds two columns of that name where rows are ordered by the other. So is what is there again.
#[derive(Default)]
struct Written {
    /// What rows are ordered by with its table before it: the engine finds the other of that name ambiguous.
    ordered: HashSet<String>,
}

impl VisitorMut for Written {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<String> {
        standard::fetched(query)?;
        columns::tell_apart(query);
        ast::visit_expressions(&query.order_by, |expr| {
            if matches!(expr, Expr::CompoundIdentifier(_)) {
                self.ordered.extend(shown_as(&ast::SelectItem::UnnamedExpr(expr.clone())));
            }
            ControlFlow::Continue(())
        })
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<String> {
        let named: Vec<String> = select.projection.iter().filter_map(shown_as).collect();
        let all = named.iter().any(|name| name == "*");
        let mut taken: HashSet<String> = named.into_iter().chain(self.ordered.iter().cloned()).collect();
        let mut seen = HashSet::new();
        for item in &mut select.projection {
            let ast::SelectItem::UnnamedExpr(expr) = item else { continue };
            let name = column_of(expr).or_else(|| {
                let again = !seen.insert(columns::alike(expr));
                again.then(|| columns::called(expr))
            });
            let Some(name) = name else { continue };
            let first = if all { 2 } else { 1 };
            let free = (first..).map(|number| if number == 1 { name.clone() } else { format!("{name}_{number}") });
            let name = free.into_iter().find(|name| taken.insert(name.clone())).unwrap_or(name);
            let expr = std::mem::replace(expr, Expr::Value(Value::Null.into()));
            *item = ast::SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<String> {
        if let ast::TableFactor::Table { name, args: Some(_), alias, .. } = factor
            && check::is_series(name)
        {
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
        numbers::spelled(expr);
        numbers::kept(expr);
        types::meant(expr);
        standard::in_words(expr);
        truncated(expr);
        regroup(expr);
        standard::by_parts(expr)
    }
}

/// `date_trunc` with a zone, as the engine has it: it truncates an instant by the clock of the zone that it is put into.
fn truncated(expr: &mut Expr) {
    if let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr
        && name.to_string().eq_ignore_ascii_case("date_trunc")
        && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(time)), FunctionArg::Unnamed(FunctionArgExpr::Expr(zone))] =
            list.args.as_mut_slice()
        && let Expr::Value(value) = zone
    {
        // UTC by another name, which no session puts into a zone of its own.
        if let Value::SingleQuotedString(zone) = &mut value.value
            && zone.eq_ignore_ascii_case("utc")
        {
            "Etc/UTC".clone_into(zone);
        }
        let nothing = || Expr::Value(Value::Null.into());
        let [timestamp, time_zone] = [&mut *time, zone].map(|part| Box::new(std::mem::replace(part, nothing())));
        *time = Expr::Nested(Box::new(Expr::AtTimeZone { timestamp, time_zone }));
        list.args.pop();
    }
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
mod tests {
    use super::{MAX_SQL_BYTES, QueryError, Statement};

    fn parse(sql: &str) -> Result<Statement, QueryError> {
        super::parse(sql, None)
    }

    /// What a statement is written as once it is read, or what its refusal says.
    #[track_caller]
    fn check(sql: &str, wanted: Result<&str, &str>) {
        match (parse(sql), wanted) {
            (Ok(statement), Ok(text)) => assert_eq!(statement.to_string(), text),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{sql}: {error}"),
            (got, wanted) => panic!("{sql}: {got:?}, not {wanted:?}"),
        }
    }

    #[test]
    fn what_is_asked_twice_has_a_name_of_its_own() {
        let zoned = "SELECT time AT TIME ZONE 'UTC' AS \"timezone\", time FROM usage";
        check("SELECT time AT TIME ZONE 'UTC', time FROM usage", Ok(zoned));
        check("SELECT time, time::date FROM usage", Ok("SELECT time, time::DATE AS \"time_2\" FROM usage"));
        check("SELECT (u.a)::text::int FROM u ORDER BY a", Ok("SELECT (u.a)::TEXT::INT AS \"a\" FROM u ORDER BY a"));
        check("SELECT time::date, time FROM usage", Ok("SELECT time::DATE AS \"time_2\", time FROM usage"));
        let cast = "SELECT sum(a), sum(coalesce(a::INT)) AS \"sum\" FROM u ORDER BY sum(coalesce(a::INT))";
        check("SELECT sum(a), sum(a::int) FROM u ORDER BY sum(a::int)", Ok(cast));
        let calculated = "SELECT count(*) / 7, \"numeric\"(count(*)) / 7 AS \"?column?\" FROM u";
        check("SELECT count(*)/7, count(*)::numeric/7 FROM u", Ok(calculated));
        check("SELECT *, a::int FROM u", Ok("SELECT *, a::INT AS \"a_2\" FROM u"));
        let again = "SELECT avg(x)::INT, avg(x) AS \"avg\", a, a AS \"a_2\" FROM u";
        check("SELECT avg(x)::int, avg(x), a, a FROM u", Ok(again));
        let both = "SELECT (SELECT count(*) FROM u), (SELECT COUNT(*) FROM v) AS \"count\"";
        check("SELECT (SELECT count(*) FROM u), (SELECT COUNT(*) FROM v)", Ok(both));
    }

    #[test]
    fn queries_pass_and_everything_else_does_not() {
        check("SELECT tag('env') FROM usage", Ok("SELECT tag(tags, 'env') FROM usage"));
        check("SELECT a FROM usage u WHERE TAG('x') = 'y'", Ok("SELECT a FROM usage u WHERE TAG(tags, 'x') = 'y'"));
        check("SELECT tag(u.tags, 'env') FROM usage AS u", Ok("SELECT tag(u.tags, 'env') FROM usage AS u"));
        let truncated = "SELECT date_trunc('day', (time AT TIME ZONE 'Asia/Tokyo')) FROM usage";
        check("SELECT date_trunc('day', time, 'Asia/Tokyo') FROM usage", Ok(truncated));
        check("SELECT 1e6, -1.5e-3", Ok("SELECT 1000000., -0.0015"));
        check("SELECT '-1.5e3'::numeric AS a", Ok("SELECT '-1500'::NUMERIC(4,0) AS a"));
        check("SELECT a::decimal AS a FROM t", Ok("SELECT \"numeric\"(a) AS a FROM t"));
        check(
            "SELECT a::float, a::float(24) FROM t",
            Ok("SELECT a::DOUBLE PRECISION AS \"a\", a::REAL AS \"a_2\" FROM t"),
        );
        check("SELECT CAST(a AS varchar(8)) FROM t", Ok("SELECT \"left\"(CAST(a AS VARCHAR), 8) AS \"a\" FROM t"));
        check("SELECT a::character varying(2) AS b FROM t", Ok("SELECT \"left\"(a::VARCHAR, 2) AS b FROM t"));
        check("SELECT a::text, b::varchar FROM t", Ok("SELECT a::TEXT AS \"a\", b::VARCHAR AS \"b\" FROM t"));
        check("SELECT a::char(2) FROM t", Err("write varchar"));
        check("SELECT a FROM t FETCH FIRST 5 ROWS ONLY", Ok("SELECT a FROM t LIMIT 5"));
        check("SELECT a FROM t OFFSET 2 ROWS FETCH NEXT ROW ONLY", Ok("SELECT a FROM t LIMIT 1 OFFSET 2 ROWS"));
        check("SELECT a FROM t FETCH FIRST 5 ROWS WITH TIES", Err("rank()"));
        check("SELECT a FROM t LIMIT 1 FETCH FIRST 5 ROWS ONLY", Err("one of them"));
        check("SELECT (a, b) = (1, 2) AS c FROM t", Ok("SELECT ((a = 1) AND (b = 2)) AS c FROM t"));
        check("SELECT (a, b) = (1, 2, 3) FROM t", Err("both sides"));
        let many = format!("SELECT 1 FROM t WHERE (a, b) IN ({})", vec!["(1, 2)"; 201].join(","));
        check(&many, Err("400 times"));
        let words = "SELECT INTERVAL '3 days 04 hours 05 minutes 06 seconds' AS a";
        check("SELECT interval '3 days 04:05:06' AS a", Ok(words));
        check("SELECT 1; SELECT 2", Err("exactly one statement"));
        check("", Err("exactly one statement"));
        check("COPY usage TO 'x.csv'", Err("only queries"));
        check("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'", Err("only queries"));
        check("CREATE TABLE t AS SELECT 1", Err("only queries"));
        check("DROP TABLE usage", Err("only queries"));
        check("INSERT INTO usage VALUES (1)", Err("only queries"));
        check("SET datafusion.execution.batch_size = 1", Err("only queries"));
        check("EXPLAIN ANALYZE SELECT 1", Err("plain EXPLAIN"));
        check("EXPLAIN VERBOSE SELECT 1", Err("plain EXPLAIN"));
        check("EXPLAIN COPY usage TO 'x'", Err("only queries"));
        check("SELECT * FROM range(1, 1000000000000)", Err("table functions"));
        check("SELECT * FROM x.generate_series(1, 2)", Err("table functions"));
        check("SELECT * FROM generate_series(1, 2) WITH ORDINALITY", Err("ORDINALITY"));
        let named = "SELECT * FROM generate_series(1, 2) AS generate_series (generate_series)";
        check("SELECT * FROM Generate_Series(1, 2)", Ok(named));
        check("SELECT n FROM generate_series(1, 2) AS n", Ok("SELECT n FROM generate_series(1, 2) AS n (n)"));
        check("SELECT b FROM generate_series(1, 2) AS a(b)", Ok("SELECT b FROM generate_series(1, 2) AS a (b)"));
        check("WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t", Err("recursive"));
        check("SELECT 'ab' SIMILAR TO 'a%'", Err("SIMILAR TO"));
        check("SELECT * FROM usage TABLESAMPLE BERNOULLI (10)", Err("TABLESAMPLE"));
        check("SELECT * FROM usage FOR UPDATE", Err("FOR UPDATE"));
        check("SELECT sum(a) OVER (w) FROM t WINDOW w AS (ORDER BY b)", Err("OVER w"));
        check("SELECT sum(a) OVER v FROM t WINDOW w AS (ORDER BY b), v AS (w)", Err("OVER w"));
        check("SELECT a FROM t INTERSECT ALL SELECT a FROM u", Err("INTERSECT ALL"));
        check("SELECT 1 UNION (SELECT a FROM t EXCEPT ALL SELECT a FROM u)", Err("EXCEPT ALL"));
        let framed =
            "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN CURRENT ROW AND 18446744073709551615 FOLLOWING) FROM t";
        check(framed, Err("a frame"));
        check("SELECT generate_series(1, 2)", Err("FROM"));
        check("SELECT (Regexp_Match(a, '(b)'))[1] FROM t", Err("regexp_replace"));
        check("SELECT 1 << 63", Err("<<"));
        check("SELECT string_agg(a, ',') OVER () FROM t", Err("string_agg"));
        check("SELECT STRING_AGG(a, ',') OVER w FROM t WINDOW w AS (ORDER BY b)", Err("string_agg"));
        let crossed: Vec<_> = (0..40).map(|number| format!("(SELECT 1) a{number}")).collect();
        check(&format!("SELECT count(*) FROM {}", crossed.join(",")), Err("32 tables"));
        let parted = format!("SELECT sum(a) OVER (PARTITION BY {}) FROM t", vec!["a"; 65].join(","));
        check(&parted, Err("64"));
        check(&format!("SELECT 1 FROM t GROUP BY {}", vec!["a"; 65].join(",")), Err("64"));
        check(&format!("SELECT 1 FROM t ORDER BY {}", vec!["a"; 65].join(",")), Err("64"));
        check("SELECT 1 FROM t GROUP BY CUBE (a,b,c,d,e,f,g)", Err("CUBE"));
        check(&format!("SELECT '{}'", "x".repeat(2_000)), Err("a literal"));
        check(&format!("SELECT {}", "1 + ".repeat(20_000)), Err("65536"));
    }

    #[test]
    fn over_focus_names_are_quoted_and_nothing_else_is_touched() {
        let check = |sql: &str, wanted: &str| assert_eq!(parse(sql).unwrap().to_string(), wanted);
        check("SELECT billedcost FROM focus", "SELECT \"BilledCost\" FROM focus");
        check(
            "SELECT 'it''s tags',\n  \"a\"\"b\", f.TAGS FROM\nfocus f WHERE Tags = 'x'",
            "SELECT 'it''s tags', \"a\"\"b\", f.\"Tags\" FROM focus f WHERE \"Tags\" = 'x'",
        );
        check("SELECT count(*) AS focus, tags FROM usage", "SELECT count(*) AS focus, tags FROM usage");
        // What stands in a text is not part of the statement, before and after.
        let deep = format!("{}1{}", "abs(".repeat(14), ")".repeat(14));
        let hidden = format!("SELECT 'a'', {deep} AS a, ''b' AS c FROM focus");
        assert_eq!(parse(&hidden).unwrap().to_string(), hidden);
        assert!(parse(&format!("SELECT {deep} FROM focus")).unwrap_err().to_string().contains("nested"));
    }

    /// Each parenthesis is looked at once: with the square of their number there would be two thousand million steps.
    #[test]
    fn many_parentheses_are_refused_at_once() {
        for text in ["(", "f(", "()", ")"] {
            assert!(parse(&text.repeat(MAX_SQL_BYTES / text.len())).is_err(), "{text}");
        }
    }

    #[test]
    fn tables_are_counted_where_they_are_used() {
        let mut sql = String::from("WITH t0 AS (SELECT 1 AS a)");
        for level in 1..30 {
            let below = level - 1;
            sql.push_str(&format!(", t{level} AS (SELECT x.a FROM t{below} x, t{below} y)"));
        }
        let error = parse(&format!("{sql} SELECT * FROM t29")).unwrap_err();
        assert!(error.to_string().contains("32 tables"), "{error}");
    }
}
