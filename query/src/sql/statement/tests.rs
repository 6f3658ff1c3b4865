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
    let sums = "SELECT b, sum(a) / 7, b AS \"b_2\", rank() OVER () + 1 FROM u GROUP BY b ORDER BY sum(a) / 7 DESC, 1, rank() OVER () + 1";
    check("SELECT b, sum(a) / 7, b, rank() OVER () + 1 FROM u GROUP BY b ORDER BY 2 DESC, 1, 4", Ok(sums));
    for other in [
        "SELECT a + 1 FROM u ORDER BY 1",
        "SELECT upper(b) AS b, left(b, 2) FROM u GROUP BY c ORDER BY 2",
        "SELECT b, sum(a) FROM u GROUP BY b ORDER BY 2",
        "SELECT b, sum(a) * random() FROM u GROUP BY b ORDER BY 2",
    ] {
        check(other, Ok(other));
    }
    check("SELECT 1 AS a FROM u GROUP BY ()", Err("one group"));
    check("SELECT count(*) FROM u GROUP BY ()", Ok("SELECT count(*) FROM u"));
    check(
        "SELECT LocalTimestamp AS a, localtimestamp(0) AS b",
        Ok("SELECT CAST(now() AS TIMESTAMP) AS a, \"timestamp\"(CAST(now() AS TIMESTAMP(6)), 0) AS b"),
    );
    check("SELECT localtimestamp(1 + 1) AS a", Err("as a constant"));
    check("SELECT localtime AS a", Ok("SELECT CAST(CAST(now() AS TIMESTAMP) AS TIME) AS a"));
    check("SELECT date 'epoch' AS a", Ok("SELECT CAST(CAST('1970-01-01' AS DATE) AS DATE) AS a"));
    check("SELECT age(a) AS b FROM u", Ok("SELECT age(current_date, a) AS b FROM u"));
    check("SELECT overlay('ab' PLACING 'c' FROM 2) AS a", Ok("SELECT \"overlay\"('ab', 'c', 2) AS a"));
    let found =
        "SELECT CASE WHEN regexp_like(a, '(?s)o.b') THEN regexp_replace(a, '(?s)^.*?(o.b).*$', '\\1') END AS b FROM u";
    check("SELECT substring(a FROM 'o.b') AS b FROM u", Ok(found));
    check("SELECT 'today'::date AS a", Ok("SELECT CAST(current_date AS DATE) AS a"));
    check("SELECT a, a FROM u", Ok("SELECT a, a AS \"a_2\" FROM u"));
    check("SELECT a, u.a, U.A FROM u", Ok("SELECT a, u.a AS \"a_2\", U.A AS \"a_3\" FROM u"));
    check("SELECT u.a, v.a FROM u, v", Ok("SELECT u.a, v.a FROM u, v"));
    check("SELECT u.a, v.a, u.a FROM u, v", Ok("SELECT u.a, v.a, u.a AS \"a_2\" FROM u, v"));
    check("SELECT 1 AS a, 2 AS a, 3 AS a_2", Ok("SELECT 1 AS a, 2 AS \"a_3\", 3 AS a_2"));
    check("SELECT a, upper(a) AS a FROM u", Ok("SELECT a, upper(a) AS \"a_2\" FROM u"));
    check("SELECT upper(a) AS a, a FROM u", Ok("SELECT upper(a) AS a, a AS \"a_2\" FROM u"));
    check("SELECT 10 ^ 3, power(10, 3)", Ok("SELECT 10 ^ 3, power(10, 3) AS \"power\""));
    check(
        "SELECT stddev(a), stddev_samp(a) FROM u",
        Ok("SELECT stddev(a), stddev_samp(coalesce(a)) AS \"stddev_samp\" FROM u"),
    );
    let keys = "SELECT coalesce(a::INT) AS \"a_2\", a, sum(coalesce(a::INT)) FROM u GROUP BY coalesce(a::INT), a HAVING coalesce(a::INT) > 1";
    check("SELECT a::int, a, sum(a::int) FROM u GROUP BY a::int, a HAVING a::int > 1", Ok(keys));
    check("SELECT a::int AS b FROM u GROUP BY a::int", Ok("SELECT a::INT AS b FROM u GROUP BY a::INT"));
    let sets = "SELECT count(*) FROM u GROUP BY GROUPING SETS ((a), (coalesce(a::INT)))";
    check("SELECT count(*) FROM u GROUP BY GROUPING SETS ((a), (a::int))", Ok(sets));
    let union = "SELECT a::INT AS \"a\", coalesce(a::BIGINT) AS \"a_2\" FROM u GROUP BY a::INT, coalesce(a::BIGINT) UNION ALL SELECT 1, 1 AS \"?column?\"";
    check("SELECT a::int, a::bigint FROM u GROUP BY a::int, a::bigint UNION ALL SELECT 1, 1", Ok(union));
    let keys =
        "SELECT count(*) OVER (PARTITION BY a::INT), count(*) OVER (PARTITION BY coalesce(a)) AS \"count\" FROM u";
    check("SELECT count(*) OVER (PARTITION BY a::int), count(*) OVER (PARTITION BY a) FROM u", Ok(keys));
    let values = "SELECT lag(a) OVER (ORDER BY b), lag(coalesce(a::INT)) OVER (ORDER BY b) AS \"lag\" FROM u";
    check("SELECT lag(a) OVER (ORDER BY b), lag(a::int) OVER (ORDER BY b) FROM u", Ok(values));
    for (sql, wanted) in [
        ("SELECT *, team FROM usage", "SELECT *, team AS \"team_2\" FROM usage"),
        ("SELECT usage.team, * FROM usage", "SELECT usage.team AS \"team_2\", * FROM usage"),
        ("SELECT u.*, a FROM v AS u", "SELECT u.*, a AS \"a_2\" FROM v AS u"),
        ("SELECT u.*, u.a, v.a FROM u, v", "SELECT u.*, u.a AS \"a_2\", v.a FROM u, v"),
        ("SELECT *, upper(team) AS team FROM usage", "SELECT *, upper(team) AS \"team_2\" FROM usage"),
        ("SELECT *, upper(team) AS team FROM u", "SELECT *, upper(team) AS team FROM u"),
        ("SELECT u.*, v.a AS team FROM usage AS u, v", "SELECT u.*, v.a AS team FROM usage AS u, v"),
        (
            "SELECT EXISTS (SELECT a FROM u WHERE b LIMIT 1), NOT EXISTS (SELECT 1 WHERE EXISTS (SELECT 2)) AS c, EXISTS (SELECT 3)",
            "SELECT (SELECT count(*) > 0 AS \"exists\" FROM u WHERE b), \
             (SELECT count(*) = 0 AS \"?column?\" WHERE EXISTS (SELECT 2)) AS c, \
             (SELECT count(*) > 0 AS \"exists\") AS \"exists_2\"",
        ),
        (
            "SELECT EXISTS (SELECT a FROM u GROUP BY a) AS b",
            "SELECT (SELECT count(*) > 0 AS \"exists\" FROM (SELECT a FROM u GROUP BY a) AS \"found\") AS b",
        ),
        ("SELECT (SELECT 1 AS a), (SELECT 2 AS a)", "SELECT (SELECT 1 AS a), (SELECT 2 AS a) AS \"a_2\""),
        ("SELECT (SELECT a FROM v), a FROM u", "SELECT (SELECT a FROM v), a AS \"a_2\" FROM u"),
    ] {
        check(sql, Ok(wanted));
    }
    check(
        "SELECT a, b + 1 AS c, count(*) FROM u GROUP BY ROLLUP (1, 2), GROUPING SETS ((1), (2, b), ())",
        Ok("SELECT a, b + 1 AS c, count(*) FROM u GROUP BY ROLLUP (a, b + 1), GROUPING SETS ((a), (b + 1, b), ())"),
    );
    check(
        "SELECT a, b, c FROM u GROUP BY ROLLUP ((1, 2), c), CUBE ((a, b), 3)",
        Ok("SELECT a, b, c FROM u GROUP BY GROUPING SETS ((a, b, c), (a, b), ()), \
            GROUPING SETS ((a, b, c), (c), (a, b), ())"),
    );
    check("SELECT a, b FROM u GROUP BY (1, b)", Ok("SELECT a, b FROM u GROUP BY 1, b"));
    let both = "SELECT (SELECT count(*) FROM u) AS \"count\", (SELECT COUNT(*) FROM v) AS \"count_2\"";
    check("SELECT (SELECT count(*) FROM u), (SELECT COUNT(*) FROM v)", Ok(both));
}

/// Each stands in FROM.
#[test]
fn what_may_be_named_from_around_a_query_is_called_as_in_postgres() {
    check(
        "WITH x AS (SELECT date(time), count(*) FROM usage GROUP BY 1) SELECT count, date FROM x",
        Ok(
            "WITH x AS (SELECT date(time) AS \"date\", count(*) AS \"count\" FROM usage GROUP BY 1) SELECT count, date FROM x",
        ),
    );
    for (sql, wanted) in [
        ("SELECT sum(a), sum(b) FROM u", "SELECT sum(a) AS \"sum\", sum(b) AS \"sum_2\" FROM u"),
        ("SELECT a + 1, 1::INT, true", "SELECT a + 1 AS \"?column?\", 1::INT AS \"int4\", true AS \"bool\""),
        ("SELECT CASE WHEN a THEN 1 END FROM u", "SELECT CASE WHEN a THEN 1 END AS \"case\" FROM u"),
        (
            "SELECT (CASE WHEN a THEN 1 ELSE b END)::TEXT FROM u",
            "SELECT (CASE WHEN a THEN 1 ELSE b END)::TEXT AS \"b\" FROM u",
        ),
        ("SELECT DATE '2026-11-01'", "SELECT DATE '2026-11-01' AS \"date\""),
        ("SELECT INTERVAL '1 day'", "SELECT INTERVAL '1 day' AS \"interval\""),
        ("SELECT EXTRACT(HOUR FROM a) FROM u", "SELECT EXTRACT(HOUR FROM a) AS \"extract\" FROM u"),
        ("SELECT (SELECT max(b) FROM v) FROM u", "SELECT (SELECT max(b) FROM v) AS \"max\" FROM u"),
        ("SELECT (SELECT * FROM v) FROM u", "SELECT (SELECT * FROM v) FROM u"),
        ("SELECT a FROM u WHERE a IN (SELECT max(b) FROM v)", "SELECT a FROM u WHERE a IN (SELECT max(b) FROM v)"),
        (
            "SELECT count(*) FROM u UNION ALL SELECT max(a) FROM u",
            "SELECT count(*) AS \"count\" FROM u UNION ALL SELECT max(a) FROM u",
        ),
        ("SELECT max(a), b AS max FROM u", "SELECT max(a) AS \"max_2\", b AS max FROM u"),
        (
            "SELECT upper(a), lower(a) FROM u ORDER BY upper || 'x', lower LIMIT 1",
            "SELECT upper(a), lower(a) AS \"lower\" FROM u ORDER BY upper || 'x', lower LIMIT 1",
        ),
        (
            "SELECT a, max(max) FROM u GROUP BY a ORDER BY max(max) LIMIT 1",
            "SELECT a, max(max) AS \"max\" FROM u GROUP BY a ORDER BY 2 LIMIT 1",
        ),
        (
            "SELECT a::INT, max(a) FROM u GROUP BY 1 ORDER BY u.a, 2",
            "SELECT a::INT AS \"a_2\", max(a) AS \"max\" FROM u GROUP BY 1 ORDER BY u.a, 2",
        ),
        (
            "SELECT *, rank() OVER (ORDER BY time) FROM usage",
            "SELECT *, rank() OVER (ORDER BY time) AS \"rank\" FROM usage",
        ),
        // Of all that there is one may be called so.
        ("SELECT *, rank() OVER () FROM u", "SELECT *, rank() OVER () FROM u"),
        ("SELECT count(*) FROM (SELECT 1) AS s", "SELECT count(*) AS \"count\" FROM (SELECT 1 AS \"?column?\") AS s"),
    ] {
        check(&format!("SELECT * FROM ({sql}) AS t"), Ok(&format!("SELECT * FROM ({wanted}) AS t")));
    }
    let aliased = "SELECT n FROM (SELECT count(*) FROM u) AS t (n)";
    check(aliased, Ok(aliased));
    check(
        "SELECT *, t.*, a FROM (SELECT 1 AS a, 2 AS b) AS t",
        Ok("SELECT *, \"a\" AS \"a_2\", \"b\" AS \"b_2\", a AS \"a_3\" FROM (SELECT 1 AS a, 2 AS b) AS t"),
    );
    check("SELECT *, * FROM u", Ok("SELECT *, * FROM u"));
}

#[test]
fn queries_pass_and_everything_else_does_not() {
    check("SELECT tag('env') FROM usage", Ok("SELECT tag(tags, 'env') FROM usage"));
    check("SELECT a FROM usage u WHERE TAG('x') = 'y'", Ok("SELECT a FROM usage u WHERE TAG(tags, 'x') = 'y'"));
    check("SELECT tag(u.tags, 'env') FROM usage AS u", Ok("SELECT tag(u.tags, 'env') FROM usage AS u"));
    let truncated = "SELECT date_trunc('day', (time AT TIME ZONE 'Asia/Tokyo')) FROM usage";
    check("SELECT date_trunc('day', time, 'Asia/Tokyo') FROM usage", Ok(truncated));
    let ahead = "SELECT date_trunc('day', (time AT TIME ZONE '-05:30')) FROM usage";
    check("SELECT date_trunc('day', time, '+05:30') FROM usage", Ok(ahead));
    check(
        "SELECT 1 FROM usage WHERE time AT TIME ZONE 'utc+3' > x",
        Ok("SELECT 1 FROM usage WHERE time AT TIME ZONE '-03:00' > x"),
    );
    check(
        "SELECT 1 FROM usage WHERE time AT TIME ZONE 'z' > x",
        Ok("SELECT 1 FROM usage WHERE time AT TIME ZONE 'UTC' > x"),
    );
    check("SELECT time AT TIME ZONE 'Mars' FROM usage", Err("Europe/Berlin"));
    check("SELECT time AT TIME ZONE interval '5 hours' FROM usage", Err("Europe/Berlin"));
    check("SELECT 1e6, -1.5e-3", Ok("SELECT 1000000., -0.0015"));
    check("SELECT '-1.5e3'::numeric AS a", Ok("SELECT '-1500'::NUMERIC(4,0) AS a"));
    check("SELECT a::decimal AS a FROM t", Ok("SELECT \"numeric\"(a) AS a FROM t"));
    check("SELECT a::float, a::float(24) FROM t", Ok("SELECT a::DOUBLE PRECISION AS \"a\", a::REAL AS \"a_2\" FROM t"));
    check("SELECT CAST(a AS varchar(8)) FROM t", Ok("SELECT \"left\"(CAST(a AS VARCHAR), 8) AS \"a\" FROM t"));
    check("SELECT a::character varying(2) AS b FROM t", Ok("SELECT \"left\"(a::VARCHAR, 2) AS b FROM t"));
    check("SELECT varchar(3) 'abcdef' AS a", Ok("SELECT \"left\"(VARCHAR 'abcdef', 3) AS a"));
    check("SELECT a::text, b::varchar FROM t", Ok("SELECT a::TEXT AS \"a\", b::VARCHAR AS \"b\" FROM t"));
    check("SELECT a::char(2) FROM t", Ok("SELECT rtrim(\"left\"(a::VARCHAR, 2), ' ') AS \"a\" FROM t"));
    check("SELECT a::bpchar AS b FROM t", Ok("SELECT rtrim(a::VARCHAR, ' ') AS b FROM t"));
    check("SELECT char 'abc' AS a", Ok("SELECT rtrim(VARCHAR 'abc', ' ') AS a"));
    check("SELECT a::nvarchar(2) FROM t", Err("write varchar"));
    check("SELECT a::numeric(5, -2) FROM t", Err("write round"));
    check("SELECT a FROM t FETCH FIRST 5 ROWS ONLY", Ok("SELECT a FROM t LIMIT 5"));
    check("SELECT a FROM t OFFSET 2 ROWS FETCH NEXT ROW ONLY", Ok("SELECT a FROM t LIMIT 1 OFFSET 2 ROWS"));
    check("SELECT a FROM t FETCH FIRST 5 ROWS WITH TIES", Err("rank()"));
    check("SELECT a FROM t LIMIT 1 FETCH FIRST 5 ROWS ONLY", Err("one of them"));
    check("SELECT (a, b) = (1, 2) AS c FROM t", Ok("SELECT ((a = 1) AND (b = 2)) AS c FROM t"));
    check("SELECT (a, b) = (1, 2, 3) FROM t", Err("both sides"));
    let either = "SELECT a FROM t WHERE (a BETWEEN 7 AND b + 1 OR a BETWEEN b + 1 AND 7) AND c BETWEEN 1 AND 2";
    check("SELECT a FROM t\nWHERE a BETWEEN symmetric 7 AND b + 1 AND c BETWEEN ASYMMETRIC 1 AND 2", Ok(either));
    let neither = "SELECT 'é', NOT (a BETWEEN 7 AND 3 OR a BETWEEN 3 AND 7) AS b FROM t";
    check("SELECT 'é', a NOT BETWEEN SYMMETRIC 7 AND 3 AS b FROM t", Ok(neither));
    let each_other = "SELECT 1 FROM t WHERE a BETWEEN SYMMETRIC (b BETWEEN SYMMETRIC 1 AND 2) AND c";
    check(each_other, Err("no other BETWEEN"));
    for alone in [
        "SELECT (a, b) FROM t",
        "SELECT (a, b) IS DISTINCT FROM (1, 2) AND c FROM t",
        "SELECT 1 FROM t WHERE (a, b) BETWEEN (1, 2) AND (3, 4)",
        "SELECT 1 FROM t WHERE (a, b) IN (SELECT c, d FROM u)",
    ] {
        check(alone, Err("column by column"));
    }
    let many = format!("SELECT 1 FROM t WHERE (a, b) IN ({})", vec!["(1, 2)"; 201].join(","));
    check(&many, Err("400 times"));
    let words = "SELECT INTERVAL '3 days 04 hours 05 minutes 06 seconds' AS a";
    check("SELECT interval '3 days 04:05:06' AS a", Ok(words));
    check("SELECT date_trunc('Hours', a) AS b FROM t", Ok("SELECT date_trunc('hour', a) AS b FROM t"));
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
    let framed = "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN CURRENT ROW AND 18446744073709551615 FOLLOWING) FROM t";
    check(framed, Err("a frame"));
    check("SELECT generate_series(1, 2)", Err("FROM"));
    check("SELECT (Regexp_Match(a, '(b)'))[1] FROM t", Err("regexp_replace"));
    check("SELECT 1 << 63", Err("<<"));
    check("SELECT string_agg(a, ',') OVER () FROM t", Err("string_agg"));
    check("SELECT STRING_AGG(a, ',') OVER w FROM t WINDOW w AS (ORDER BY b)", Err("string_agg"));
    check("SELECT mode() WITHIN GROUP (ORDER BY a) FROM t", Ok("SELECT mode() WITHIN GROUP (ORDER BY a) FROM t"));
    check("SELECT percentile_disc(a, 0.5) OVER () FROM t", Err("WITHIN GROUP"));
    check("SELECT percentile_cont(a, 0.5) OVER () FROM t", Err("WITHIN GROUP"));
    check("SELECT percentile_cont(a, 0.5) FROM t", Ok("SELECT percentile_cont(a, 0.5) FROM t"));
    check("SELECT Mode(a) FROM t", Err("WITHIN GROUP"));
    let crossed: Vec<_> = (0..40).map(|number| format!("(SELECT 1) a{number}")).collect();
    check(&format!("SELECT count(*) FROM {}", crossed.join(",")), Err("32 tables"));
    let parted = format!("SELECT sum(a) OVER (PARTITION BY {}) FROM t", vec!["a"; 65].join(","));
    check(&parted, Err("64"));
    check(&format!("SELECT 1 FROM t GROUP BY {}", vec!["a"; 65].join(",")), Err("64"));
    check(&format!("SELECT 1 FROM t ORDER BY {}", vec!["a"; 65].join(",")), Err("64"));
    check("SELECT 1 FROM t GROUP BY CUBE (a,b,c,d,e,f,g)", Err("CUBE"));
    check(&format!("SELECT 1 FROM t GROUP BY CUBE (({}), b)", vec!["a"; 64].join(",")), Err("64"));
    check(&format!("SELECT 1 FROM t GROUP BY ({})", vec!["a"; 65].join(",")), Err("64"));
    check(&format!("SELECT '{}'", "x".repeat(2_000)), Err("a literal"));
    check(&format!("SELECT {}", "1 + ".repeat(20_000)), Err("65536"));
}

#[test]
fn a_column_that_is_joined_by_is_that_of_either_side() {
    check(
        "SELECT x FROM a LEFT JOIN b USING (x)",
        Ok("SELECT a.\"x\" AS \"x\" FROM a LEFT JOIN b ON a.\"x\" = b.\"x\""),
    );
    check(
        "SELECT x, q FROM a JOIN b USING (x) WHERE x > 1 GROUP BY x, q HAVING max(x) > 2 ORDER BY x",
        Ok("SELECT a.\"x\" AS \"x\", q FROM a JOIN b ON a.\"x\" = b.\"x\" WHERE a.\"x\" > 1 \
            GROUP BY a.\"x\", q HAVING max(a.\"x\") > 2 ORDER BY a.\"x\""),
    );
    check(
        "SELECT x, d.* FROM a JOIN b USING (x) JOIN (SELECT 1 AS k) AS d ON d.k = x",
        Ok("SELECT a.\"x\" AS \"x\", d.* FROM a JOIN b ON a.\"x\" = b.\"x\" \
            JOIN (SELECT 1 AS k) AS d ON d.k = a.\"x\""),
    );
    check(
        "SELECT b.*, x FROM a JOIN b USING (x)",
        Ok("SELECT b.*, a.\"x\" AS \"x_2\" FROM a JOIN b ON a.\"x\" = b.\"x\""),
    );
    check(
        "WITH c AS (SELECT 1 AS x, 2 AS y), d AS (SELECT 3 AS z, 1 AS x) SELECT * FROM c NATURAL LEFT JOIN d WHERE x = 1",
        Ok("WITH c AS (SELECT 1 AS x, 2 AS y), d AS (SELECT 3 AS z, 1 AS x) \
            SELECT c.\"x\" AS \"x\", c.* EXCLUDE (\"x\"), d.* EXCLUDE (\"x\") \
            FROM c LEFT JOIN d ON c.\"x\" = d.\"x\" WHERE c.\"x\" = 1"),
    );
    // Of views it is known as well which columns they have.
    check(
        "SELECT day FROM daily_spend AS s JOIN (SELECT 1 AS day, 2 AS k) AS c USING (day) JOIN a USING (tenant) WHERE tenant = 'x'",
        Ok(
            "SELECT s.\"day\" AS \"day\" FROM daily_spend AS s JOIN (SELECT 1 AS day, 2 AS k) AS c ON s.\"day\" = c.\"day\" \
            JOIN a ON s.\"tenant\" = a.\"tenant\" WHERE s.\"tenant\" = 'x'",
        ),
    );
    check(
        "SELECT x, sum(n) FROM a RIGHT JOIN b USING (x) WHERE x > 1 GROUP BY x ORDER BY x",
        Ok("SELECT b.\"x\" AS \"x\", sum(n) FROM a RIGHT JOIN b ON a.\"x\" = b.\"x\" WHERE b.\"x\" > 1 \
            GROUP BY b.\"x\" ORDER BY b.\"x\""),
    );
    check(
        "SELECT * FROM a FULL JOIN b USING (x) FULL JOIN c USING (x) ORDER BY x, x + 1",
        Ok(
            "SELECT coalesce(a.\"x\", b.\"x\", c.\"x\") AS \"x\", a.* EXCLUDE (\"x\"), b.* EXCLUDE (\"x\"), c.* EXCLUDE (\"x\") \
            FROM a FULL JOIN b ON a.\"x\" = b.\"x\" FULL JOIN c ON coalesce(a.\"x\", b.\"x\") = c.\"x\" \
            ORDER BY x, coalesce(a.\"x\", b.\"x\", c.\"x\") + 1",
        ),
    );
    check(
        "SELECT * FROM b LEFT JOIN a USING (x)",
        Ok("SELECT b.\"x\" AS \"x\", b.* EXCLUDE (\"x\"), a.* EXCLUDE (\"x\") FROM b LEFT JOIN a ON b.\"x\" = a.\"x\""),
    );
    check(
        "SELECT x, q, r FROM a JOIN b USING (x) LEFT JOIN c USING (x) WHERE x > 1 ORDER BY x",
        Ok("SELECT a.\"x\" AS \"x\", q, r FROM a JOIN b ON a.\"x\" = b.\"x\" LEFT JOIN c ON a.\"x\" = c.\"x\" \
            WHERE a.\"x\" > 1 ORDER BY a.\"x\""),
    );
    check(
        "SELECT * FROM a JOIN b USING (y, x)",
        Ok("SELECT a.\"y\" AS \"y\", a.\"x\" AS \"x\", a.* EXCLUDE (\"y\", \"x\"), b.* EXCLUDE (\"y\", \"x\") \
            FROM a JOIN b ON a.\"y\" = b.\"y\" AND a.\"x\" = b.\"x\""),
    );
    check(
        "SELECT x, m FROM a FULL JOIN b USING (x), LATERAL (SELECT x * 10 AS m) AS l",
        Ok("SELECT coalesce(a.\"x\", b.\"x\") AS \"x\", m FROM a FULL JOIN b ON a.\"x\" = b.\"x\", \
            LATERAL (SELECT coalesce(a.\"x\", b.\"x\") * 10 AS m) AS l"),
    );
    check(
        "SELECT x, m FROM a JOIN b USING (x) CROSS JOIN LATERAL (SELECT x * 10 AS m) AS l",
        Ok(
            "SELECT a.\"x\" AS \"x\", m FROM a JOIN b ON a.\"x\" = b.\"x\" CROSS JOIN LATERAL (SELECT a.\"x\" * 10 AS m) AS l",
        ),
    );
    check(
        "SELECT q FROM b WHERE EXISTS (SELECT 1 FROM a JOIN c USING (x) WHERE x = b.x)",
        Ok("SELECT q FROM b WHERE EXISTS (SELECT 1 FROM a JOIN c ON a.\"x\" = c.\"x\" WHERE a.\"x\" = b.x)"),
    );
    // Which table has `q` only the engine knows; where the columns of `*` stand it does not.
    let others = "SELECT p FROM a JOIN b USING(x) JOIN c USING(q) JOIN d USING(q)";
    check(others, Ok(others));
    check("SELECT p FROM a JOIN b USING(x) JOIN c USING(q)", Ok("SELECT p FROM a JOIN b USING(x) JOIN c USING(q)"));
    check("SELECT * FROM a JOIN b USING (x) JOIN c USING (q)", Err("write ON"));
    check("SELECT x FROM a JOIN c ON a.y = c.y FULL JOIN b USING (x)", Err("write ON"));
    check("SELECT 1 FROM a, (c FULL JOIN b USING (x))", Err("write ON"));
    check("SELECT * FROM a NATURAL FULL JOIN b", Err("NATURAL"));
    let often = format!("SELECT {} FROM a FULL JOIN b USING (x)", vec!["x"; 401].join(","));
    check(&often, Err("too often"));
}

#[test]
fn rows_of_a_lateral_query_are_numbered_where_it_has_a_limit() {
    let within = "SELECT u.c FROM u WHERE u.a = b.a AND u.d > 1";
    check(
        &format!("SELECT t.c FROM b LEFT JOIN LATERAL ({within} ORDER BY u.e DESC LIMIT 2) AS t ON true"),
        Ok("SELECT t.c FROM b LEFT JOIN LATERAL (SELECT \"ranked\".* EXCLUDE (\"number of a row\", \"key 0\") FROM \
            (SELECT u.c, row_number() OVER (PARTITION BY u.a ORDER BY u.e DESC) AS \"number of a row\", u.a AS \"key 0\" \
            FROM u WHERE u.d > 1) AS \"ranked\" WHERE (\"ranked\".\"number of a row\" > 0) AND \
            ((\"ranked\".\"number of a row\" <= 2) AND (\"ranked\".\"key 0\" = b.a))) AS t ON true"),
    );
    for other in [
        within.to_owned(),
        format!("{within} AND e LIMIT 2"),
        format!("{within} AND u.e > b.e LIMIT 2"),
        format!("{within} GROUP BY u.c LIMIT 2"),
        "SELECT b.c FROM u WHERE u.a = b.a LIMIT 2".to_owned(),
    ] {
        let sql = format!("SELECT t.c FROM b, LATERAL ({other}) AS t");
        check(&sql, Ok(&sql));
    }
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

/// The columns of each are looked for once: as often as they are shown it would be 9¹⁰ times.
#[test]
fn what_is_shown_often_in_each_other_is_read_at_once() {
    let often = format!("SELECT {} FROM (", ["*"; 9].join(","));
    let nested = format!("{}SELECT 1 AS a{}", often.repeat(10), ") AS t".repeat(10));
    assert!(parse(&nested).is_ok());
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
