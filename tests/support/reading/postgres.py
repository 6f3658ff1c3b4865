"""What drivers and tools do with the address of a Tollgate that speaks the protocol of Postgres.

Each check stands for something that a client relies on; the first that does not hold ends it.
"""

import asyncio
import datetime
import decimal
import sys
import threading
import time

import asyncpg
import pg8000.dbapi
import psycopg
import sqlalchemy
import sqlalchemy.ext.asyncio

HOST, PORT = sys.argv[1].rsplit(":", 1)


def connect(token="tgq-all", **more):
    return psycopg.connect(host=HOST, port=PORT, user="finops", password=token, dbname="tollgate", **more)


def parameters_and_types():
    with connect() as connection:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                cursor.execute(
                    "SELECT tenant, output_tokens, cost_usd, time, stream, status FROM usage WHERE tenant = %s "
                    "AND output_tokens >= %s AND time > %s ORDER BY time LIMIT %s",
                    ("acme", 16, datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), 1),
                )
                (row,) = cursor.fetchall()
                tenant, tokens, cost, when, stream, status = row
                assert (tenant, tokens, stream, status) == ("acme", 16, False, 200), row
                assert isinstance(cost, decimal.Decimal) and cost > 0, row
                age = datetime.datetime.now(datetime.timezone.utc) - when
                assert datetime.timedelta(0) < age < datetime.timedelta(hours=1), row
                names = [column.name for column in cursor.description]
                assert names == ["tenant", "output_tokens", "cost_usd", "time", "stream", "status"], names
                for value in (
                    decimal.Decimal("-12345678.000000000009"),
                    decimal.Decimal("0"),
                    9223372036854775807,
                    -1.5,
                    True,
                    datetime.date(2026, 11, 29),
                    datetime.timedelta(days=-1, seconds=5, microseconds=6),
                ):
                    cursor.execute("SELECT %s AS v", (value,), binary=binary)
                    got = cursor.fetchone()[0]
                    assert got == value, (value, got, binary)
                for placeholder in ("%s", "%t", "%b"):
                    cursor.execute(
                        f"SELECT count(*) FROM usage WHERE time > now() - {placeholder}", (datetime.timedelta(days=1),)
                    )
                    assert cursor.fetchone()[0] == 3, placeholder
                cursor.execute("SELECT count(*) FROM usage WHERE cost_usd > %s", (decimal.Decimal("0.0000000000001"),))
                assert cursor.fetchone()[0] == 3
                cursor.execute("SELECT count(*) FROM usage WHERE tenant = %(tenant)s", {"tenant": "nobody"})
                assert cursor.fetchone()[0] == 0
                cursor.execute("SELECT count(*) FROM usage WHERE user_id IS NULL OR user_id <> %s", (None,))
                cursor.fetchone()


def prepared_again_and_in_batches():
    with connect() as connection:
        for number in range(8):
            found = connection.execute(
                "SELECT count(*) FROM usage WHERE output_tokens > %s", (number,), prepare=True
            ).fetchone()
            assert found[0] == 3, found
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int * 2", (number,)) for number in range(20)]
        assert [cursor.fetchone()[0] for cursor in cursors] == [number * 2 for number in range(20)]


# What is compared with a list, the list, and how many of the three calls it is so of.
LISTS = (
    ("output_tokens = ANY({})", [16, 17], 3),
    ("output_tokens = ANY({}::bigint[])", [16], 3),
    ("output_tokens = ANY({}::int[])", [16], 3),
    ("output_tokens <> ALL({}::bigint[])", [16], 0),
    ("output_tokens = ANY({}::int[])", [], 0),
    ("status = ANY({})", [200, None], 3),
    ("tenant = ANY({})", ["acme", "it's"], 2),
    ("cost_usd = ANY({})", [decimal.Decimal("-1.5")], 0),
    ("cost_usd <> ALL({}::numeric[])", [decimal.Decimal("-1.5")], 3),
    ("stream = ANY({})", [False], 3),
    ("output_tokens::float8 = ANY({}::float8[])", [16.0], 3),
    ("time <> ALL({})", [datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc)], 3),
    ("time::date <> ALL({}::date[])", [datetime.date(2020, 11, 29)], 3),
)


def lists_by_psycopg_and_pg8000():
    with connect() as connection:
        for condition, values, wanted in LISTS:
            for placeholder in ("%s", "%t", "%b"):
                sql = "SELECT count(*) FROM usage WHERE " + condition.format(placeholder)
                found = connection.execute(sql, (values,)).fetchone()
                assert found == (wanted,), (sql, values, found)
        bound = bytes(range(256))
        for placeholder in ("%s", "%t", "%b"):
            found = connection.execute(f"SELECT {placeholder}::bytea, ({placeholder}::bytea)::text", (bound, bound))
            assert found.fetchone() == (bound, "\\x" + bound.hex()), placeholder
    connection = pg8000.dbapi.connect("finops", host=HOST, port=int(PORT), password="tgq-all", database="tollgate")
    cursor = connection.cursor()
    for cast in ("%s", "CAST(%s AS int[])", "CAST(%s AS bigint[])"):
        cursor.execute(f"SELECT count(*) FROM usage WHERE output_tokens = ANY({cast})", ([16, 17],))
        assert cursor.fetchall() == ([3],), cast
    cursor.execute("SELECT CAST(%s AS bytea)", (bound,))
    assert cursor.fetchall() == ([bound],)
    connection.close()


async def asked_by_asyncpg():
    connection = await asyncpg.connect(
        host=HOST, port=int(PORT), user="finops", password="tgq-all", database="tollgate"
    )
    for condition, values, wanted in LISTS:
        sql = "SELECT count(*) FROM usage WHERE " + condition.format("$1")
        found = await connection.fetchval(sql, values)
        assert found == wanted, (sql, values, found)
    optional = "SELECT count(*) FROM usage WHERE $1::bigint[] IS NULL OR output_tokens = ANY($1)"
    for values, wanted in ((None, 3), ([16], 3), ([17], 0)):
        assert await connection.fetchval(optional, values) == wanted, values
    try:
        await connection.fetchval("SELECT $1::int[]", [1])
        raise AssertionError("an array was given")
    except asyncpg.FeatureNotSupportedError as error:
        assert "may only be compared with" in str(error), error
    assert await connection.fetchval("SELECT $1::bytea", b"\x00\xff") == b"\x00\xff"
    assert await connection.fetchval("SELECT ($1::interval)::text", datetime.timedelta(days=40, seconds=3.5)) == (
        "40 days 00:00:03.5"
    )
    await connection.close()


def reflected(connection):
    inspector = sqlalchemy.inspect(connection)
    for nothing in ("foreign_keys", "check_constraints", "indexes", "unique_constraints"):
        assert getattr(inspector, f"get_{nothing}")("usage") == [], nothing
    tables = sqlalchemy.MetaData()
    tables.reflect(connection)
    assert {"usage", "charges", "balances"} <= set(tables.tables), tables.tables.keys()
    usage = tables.tables["usage"]
    return sqlalchemy.select(sqlalchemy.func.count()).where(usage.c.output_tokens.in_([16, 17]))


async def reflected_over_asyncpg():
    url = f"postgresql+asyncpg://finops:tgq-acme@{HOST}:{PORT}/tollgate"
    engine = sqlalchemy.ext.asyncio.create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.execute(await connection.run_sync(reflected))
        assert found.scalar() == 2
    await engine.dispose()


def asyncpg_asks_and_reflects():
    asyncio.run(asked_by_asyncpg())
    asyncio.run(reflected_over_asyncpg())


def rows_while_they_are_made():
    with connect() as connection, connection.cursor() as cursor:
        seen = 0
        for row in cursor.stream("SELECT p.price_id, q.price_id FROM prices p, (SELECT price_id FROM prices LIMIT 10) q"):
            seen += 1
            assert len(row) == 2
        cursor.execute("SELECT count(*) FROM prices")
        assert seen == cursor.fetchone()[0] * 10, seen


def rows_of_a_cursor_on_the_server():
    with connect() as connection:
        count = connection.execute("SELECT count(*) FROM prices").fetchone()[0]
        for binary in (False, True):
            with connection.cursor("few", binary=binary) as cursor:
                cursor.itersize = 100
                cursor.execute("SELECT price_id FROM prices WHERE price_id <> %s", ("none",))
                assert [column.name for column in cursor.description] == ["price_id"], cursor.description
                first = cursor.fetchmany(3)
                assert len(first) == 3 and isinstance(first[0][0], str), first
                assert sum(1 for _ in cursor) == count - 3


def transactions_and_errors():
    with connect() as connection:
        try:
            connection.execute("SELECT 1 / 0")
            raise AssertionError("it divided by zero")
        except psycopg.errors.DivisionByZero:
            pass
        try:
            connection.execute("SELECT 1")
            raise AssertionError("the transaction had failed")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        connection.rollback()
        for sql, error in (
            ("SELECT * FROM nothing", psycopg.errors.UndefinedTable),
            ("SELECT nothing FROM usage", psycopg.errors.UndefinedColumn),
            ("SELEC 1", psycopg.errors.SyntaxError),
            ("CREATE TABLE t (a int)", psycopg.errors.FeatureNotSupported),
            ("COPY usage TO STDOUT", psycopg.errors.FeatureNotSupported),
            ("SELECT repeat('x', 4000000000)", psycopg.errors.FeatureNotSupported),
        ):
            try:
                connection.execute(sql)
                raise AssertionError(sql)
            except error:
                connection.rollback()
        connection.execute("SET TIME ZONE 'Asia/Tokyo'")
        assert connection.execute("SELECT time FROM usage").fetchone()[0].utcoffset() == datetime.timedelta(hours=9)
    try:
        connect("wrong")
        raise AssertionError("a stranger was let in")
    except psycopg.OperationalError as error:
        assert "no token" in str(error), error


ENDLESS = (
    "SELECT count(a.price_id || d.price_id) FROM prices a, (SELECT b.price_id FROM prices b, prices c) d"
)


def cancelled_by_another_connection():
    with connect() as connection:
        threading.Timer(1.0, connection.cancel).start()
        begun = time.monotonic()
        try:
            connection.execute(ENDLESS)
            raise AssertionError("it ended")
        except psycopg.errors.QueryCanceled as error:
            assert "user request" in str(error), error
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.execute("SET statement_timeout = '500ms'")
        try:
            connection.execute(ENDLESS)
            raise AssertionError("it ended")
        except psycopg.errors.QueryCanceled as error:
            assert "longer than 500ms" in str(error), error
        assert time.monotonic() - begun < 50


def a_client_that_leaves_frees_its_place():
    # More than there are places for queries: each has to be given back.
    for _ in range(10):
        connection = connect()
        connection.pgconn.send_query_params(ENDLESS.encode(), None)
        connection.pgconn.flush()
        time.sleep(0.1)
        connection.close()
    with connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def sqlalchemy_asks_and_reflects():
    url = f"postgresql+psycopg://finops:tgq-acme@{HOST}:{PORT}/tollgate"
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            sqlalchemy.text("SELECT tenant, sum(output_tokens) FROM usage WHERE output_tokens > :n GROUP BY tenant"), {"n": 1}
        )
        assert rows.all() == [("acme", 32)]
    inspector = sqlalchemy.inspect(engine)
    names = inspector.get_table_names()
    assert {"usage", "calls", "charges", "balances", "commitments"} <= set(names), names
    views = inspector.get_view_names()
    assert {"daily_spend", "focus"} <= set(views) and not set(views) & set(names), views
    assert "BilledCost" in [column["name"] for column in inspector.get_columns("focus")]
    columns = {column["name"]: column["type"] for column in inspector.get_columns("usage")}
    assert isinstance(columns["cost_usd"], sqlalchemy.Numeric) and columns["cost_usd"].scale == 12, columns
    assert isinstance(columns["time"], sqlalchemy.DateTime) and columns["time"].timezone, columns
    assert inspector.get_schema_names() and not inspector.get_foreign_keys("usage")
    assert not inspector.get_pk_constraint("usage")["constrained_columns"]
    table = sqlalchemy.Table("usage", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        query = sqlalchemy.select(table.c.tenant, sqlalchemy.func.sum(table.c.cost_usd)).group_by(table.c.tenant)
        ((tenant, cost),) = connection.execute(query).all()
        assert tenant == "acme" and cost > 0


# What tools send when they connect and when they look for tables, as they send it.
TOOLS = {
    "grafana": [
        "SELECT current_setting('server_version_num')::int/100 AS version",
        "SELECT quote_ident(table_name) AS \"table\" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN "
        "('information_schema', 'pg_catalog', '_timescaledb_cache') AND table_type = 'BASE TABLE' AND "
        "quote_ident(table_schema) IN (SELECT CASE WHEN trim(s) = '\"$user\"' THEN user ELSE trim(s) END FROM "
        "(SELECT current_schema() AS s) t) ORDER BY 1",
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE "
        "quote_ident(table_name) = 'usage' ORDER BY 1",
        "SELECT floor(extract(epoch from \"time\")/60)*60 AS \"time\", sum(cost_usd) AS usd FROM usage WHERE \"time\" BETWEEN "
        "'2020-01-01T00:00:00Z' AND '2040-01-01T00:00:00Z' GROUP BY 1 ORDER BY 1",
    ],
    "jdbc": [
        "SET extra_float_digits = 3",
        "SET application_name = 'DBeaver'",
        "SELECT n.nspname AS \"TABLE_SCHEM\", current_database() AS \"TABLE_CATALOG\" FROM pg_catalog.pg_namespace n WHERE "
        "nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = 'x') AND (nspname !~ '^pg_toast_temp_') "
        "ORDER BY \"TABLE_SCHEM\"",
        "SELECT current_database() AS \"TABLE_CAT\", n.nspname AS \"TABLE_SCHEM\", c.relname AS \"TABLE_NAME\", CASE "
        "n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'SYSTEM TABLE' WHEN false THEN CASE c.relkind "
        "WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END ELSE NULL END AS \"TABLE_TYPE\", d.description AS \"REMARKS\" "
        "FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND "
        "d.objsubid = 0 AND d.classoid = 'pg_class'::regclass) WHERE c.relnamespace = n.oid AND c.relname LIKE 'usage' AND "
        "(false OR (c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')) ORDER BY "
        "\"TABLE_TYPE\", \"TABLE_SCHEM\", \"TABLE_NAME\"",
        "SELECT * FROM (SELECT current_database() AS current_database, n.nspname, c.relname, a.attname, a.atttypid, "
        "a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull, a.atttypmod, a.attlen, t.typtypmod, row_number() "
        "OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') AS attidentity, "
        "nullif(a.attgenerated, '') AS attgenerated, pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc, "
        "dsc.description, t.typbasetype, t.typtype FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON "
        "(c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid) JOIN pg_catalog.pg_type t ON "
        "(a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid = def.adrelid AND a.attnum = def.adnum) "
        "LEFT JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) LEFT JOIN "
        "pg_catalog.pg_class dc ON (dc.oid = dsc.classoid AND dc.relname = 'pg_class') WHERE c.relkind IN ('r','p','v','f','m') "
        "AND a.attnum > 0 AND NOT a.attisdropped AND c.relname LIKE 'usage') c WHERE true ORDER BY nspname, c.relname, attnum",
        "SELECT db.oid, db.datname FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate ORDER BY db.datname",
        "SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON "
        "d.objoid = n.oid AND d.objsubid = 0 ORDER BY nspname",
        "SELECT c.oid, c.relname, c.relkind FROM pg_catalog.pg_class c WHERE c.relnamespace = 2200 AND c.relkind NOT IN "
        "('i','I','c') ORDER BY relname",
        "SHOW TRANSACTION ISOLATION LEVEL",
    ],
    "metabase": [
        "SELECT nspname AS schema FROM pg_catalog.pg_namespace WHERE nspname <> 'information_schema' AND "
        "has_schema_privilege(nspname, 'USAGE')",
        "SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' ELSE NULL END AS type, "
        "d.description AS description, NULLIF(c.reltuples, -1) AS estimated_row_count FROM pg_catalog.pg_class AS c INNER JOIN "
        "pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description AS d ON c.oid = d.objoid "
        "AND d.objsubid = 0 WHERE c.relnamespace = n.oid AND n.nspname !~ '^information_schema|catalog_history|pg_' AND "
        "c.relkind IN ('r', 'p', 'v', 'f', 'm') ORDER BY type ASC, schema ASC, name ASC",
        "SELECT date_trunc('month', \"public\".\"usage\".\"time\") AS \"time\", sum(\"public\".\"usage\".\"cost_usd\") AS \"sum\" "
        "FROM \"public\".\"usage\" GROUP BY date_trunc('month', \"public\".\"usage\".\"time\") ORDER BY 1 ASC",
    ],
}


def tools_find_tables():
    for tool, statements in TOOLS.items():
        with connect("tgq-acme", autocommit=True) as connection:
            for sql in statements:
                try:
                    cursor = connection.execute(sql)
                except psycopg.Error as error:
                    raise AssertionError(f"{tool}: {sql}") from error
                if "usage" in sql or "relname" in sql or "information_schema.tables" in sql:
                    assert cursor.fetchall(), f"{tool} finds nothing by {sql}"


for check in (
    parameters_and_types,
    prepared_again_and_in_batches,
    lists_by_psycopg_and_pg8000,
    asyncpg_asks_and_reflects,
    rows_while_they_are_made,
    rows_of_a_cursor_on_the_server,
    transactions_and_errors,
    cancelled_by_another_connection,
    a_client_that_leaves_frees_its_place,
    sqlalchemy_asks_and_reflects,
    tools_find_tables,
):
    begun = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - begun:.1f} s")
