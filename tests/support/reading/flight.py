"""What ADBC and what is built on it do with the address of a Tollgate that speaks Arrow Flight SQL.

Each check stands for something that a client relies on; the first that does not hold ends it.
"""

import datetime
import decimal
import sys
import threading
import time

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import polars
import pyarrow
import pyarrow.flight

ADDRESS = sys.argv[1]
ROOT = sys.argv[2] if len(sys.argv) > 2 else None
SCHEME = "grpc+tls" if ROOT else "grpc"

Option = adbc_driver_flightsql.DatabaseOptions


def connect(token="tgq-all", **options):
    options = {"username": "finops", "password": token} | options
    if ROOT:
        options[Option.TLS_ROOT_CERTS.value] = open(ROOT).read()
    return flight.connect(f"{SCHEME}://{ADDRESS}", db_kwargs=options, autocommit=True)


def asked(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def fails(kind, cursor, sql, *texts, parameters=None):
    try:
        asked(cursor, sql, parameters)
    except kind as error:
        assert all(text in str(error) for text in texts), error
    else:
        raise AssertionError(f"{sql} did not fail")


def passwords_and_tokens():
    with connect() as connection, connection.cursor() as cursor:
        assert asked(cursor, "SELECT tenant, count(*) FROM usage GROUP BY tenant ORDER BY tenant") == [
            ("acme", 2),
            ("globex", 1),
        ]
    with connect("tgq-acme") as connection, connection.cursor() as cursor:
        assert asked(cursor, "SELECT DISTINCT tenant FROM usage") == [("acme",)]
    header = {Option.AUTHORIZATION_HEADER.value: "Bearer tgq-acme"}
    if ROOT:
        header[Option.TLS_ROOT_CERTS.value] = open(ROOT).read()
    with flight.connect(f"{SCHEME}://{ADDRESS}", db_kwargs=header, autocommit=True) as connection:
        with connection.cursor() as cursor:
            assert asked(cursor, "SELECT count(*) FROM usage") == [(2,)]
    for wrong in ("", "wrong", "tgq-acm"):
        try:
            with connect(wrong) as connection, connection.cursor() as cursor:
                asked(cursor, "SELECT 1")
        except adbc_driver_manager.Error as error:
            assert "TG6003" in str(error) and "nauthenticated" in str(error), error
        else:
            raise AssertionError(wrong)


def values_and_parameters():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant, output_tokens, cost_usd, time, stream, status FROM usage WHERE tenant = ? "
            "AND output_tokens >= ? AND time > ? ORDER BY time LIMIT 1",
            ("acme", 16, datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)),
        )
        table = cursor.fetch_arrow_table()
        assert table.schema.field("cost_usd").type == pyarrow.decimal128(18, 12), table.schema
        assert table.schema.field("tenant").type == pyarrow.string(), table.schema
        (row,) = table.to_pylist()
        assert (row["tenant"], row["output_tokens"], row["stream"], row["status"]) == ("acme", 16, False, 200), row
        assert isinstance(row["cost_usd"], decimal.Decimal) and row["cost_usd"] > 0, row
        age = datetime.datetime.now(datetime.timezone.utc) - row["time"]
        assert datetime.timedelta(0) < age < datetime.timedelta(hours=1), row
        for value in (
            decimal.Decimal("-12345678.000000000009"),
            9223372036854775807,
            -1.5,
            True,
            "it's ?",
            datetime.date(2026, 11, 29),
            None,
        ):
            assert asked(cursor, "SELECT ? AS v", (value,)) == [(value,)], value
        # The same statement with other values, by marks and by numbers.
        for tenant, count in (("acme", 2), ("globex", 1), ("nobody", 0)):
            assert asked(cursor, "SELECT count(*) FROM usage WHERE tenant = ?", (tenant,)) == [(count,)]
            assert asked(cursor, "SELECT count(*) FROM usage WHERE tenant = $1", (tenant,)) == [(count,)]
        least = decimal.Decimal("0.0000000000001")
        assert asked(cursor, "SELECT count(*) FROM usage WHERE cost_usd > ?", (least,)) == [(3,)]
        # Money is exact, and the same as in text.
        ((exact, text),) = asked(cursor, "SELECT sum(cost_usd), CAST(sum(cost_usd) AS VARCHAR) AS t FROM charges")
        assert exact == decimal.Decimal(text), (exact, text)


def errors_say_what_and_whose_fault():
    with connect() as connection, connection.cursor() as cursor:
        wrong, refused = adbc_driver_manager.ProgrammingError, adbc_driver_manager.NotSupportedError
        fails(wrong, cursor, "SELEC 1", "TG6002")
        fails(wrong, cursor, "SELECT nothing FROM usage", "TG6002", "nothing")
        fails(wrong, cursor, "SELECT CAST(tenant AS BIGINT) FROM usage", "TG6002")
        fails(wrong, cursor, "SELECT count(*) FROM usage WHERE output_tokens > ?", "TG6002", parameters=("many",))
        fails(wrong, cursor, "SELECT ?", "TG6002", "2 values came", parameters=(1, 2))
        for sql in ("DROP TABLE usage", "INSERT INTO usage SELECT * FROM usage", "SELECT repeat('x', 4000000000)"):
            fails(refused, cursor, sql, "TG6001")
        for change in (
            lambda: cursor.executemany("SELECT ?", [("a",), ("b",)]),
            lambda: cursor.adbc_ingest("usage", pyarrow.table({"a": [1]}), mode="append"),
        ):
            try:
                change()
            except adbc_driver_manager.Error as error:
                assert "TG600" in str(error), error
            else:
                raise AssertionError("something was changed")
        try:
            connection.adbc_connection.set_autocommit(False)
        except refused:
            pass
        else:
            raise AssertionError("there are transactions")
        assert asked(cursor, "SELECT 7") == [(7,)]


def what_there_is():
    with connect("tgq-acme") as connection, connection.cursor() as cursor:
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "Tollgate" and info["driver_name"], info
        assert sorted(connection.adbc_get_table_types()) == ["TABLE", "VIEW"]
        (catalog,) = connection.adbc_get_objects(depth="all", table_name_filter="usage").read_all().to_pylist()
        assert catalog["catalog_name"] == "tollgate", catalog
        (schema,) = catalog["catalog_db_schemas"]
        (table,) = schema["db_schema_tables"]
        columns = [column["column_name"] for column in table["table_columns"]]
        assert (schema["db_schema_name"], table["table_name"], table["table_type"]) == ("public", "usage", "TABLE")
        assert "cost_usd" in columns and "log_offset" not in columns, columns
        schema = connection.adbc_get_table_schema("usage")
        assert schema.names == columns, schema
        described = cursor.adbc_execute_schema("SELECT tenant, sum(cost_usd) AS usd FROM usage GROUP BY tenant")
        assert described.names == ["tenant", "usd"], described
        parameters = cursor.adbc_prepare("SELECT 1 FROM usage WHERE tenant = ? AND output_tokens = ?")
        assert parameters.types == [pyarrow.string(), pyarrow.int64()], parameters


def long_answers_come_while_they_are_made():
    with connect() as connection, connection.cursor() as cursor:
        ((prices,),) = asked(cursor, "SELECT count(*) FROM prices")
        cursor.execute("SELECT p.price_id, q.price_id AS other FROM prices p, (SELECT price_id FROM prices LIMIT 40) q")
        rows = batches = 0
        for batch in cursor.fetch_record_batch():
            rows, batches = rows + batch.num_rows, batches + 1
        assert rows == prices * 40 and batches > 1, (rows, prices, batches)
    frame = polars.read_database("SELECT tenant, sum(output_tokens) AS n FROM usage GROUP BY 1 ORDER BY 1", connect())
    assert frame.rows() == [("acme", 32), ("globex", 16)], frame


ENDLESS = (
    "SELECT count(a.price_id || d.price_id || b.model) FROM prices a, prices b, "
    "(SELECT p.price_id FROM prices p, prices q, prices r) d"
)


def queries_end_when_they_are_told_to():
    with connect() as connection, connection.cursor() as cursor:
        ending = threading.Timer(1, cursor.adbc_cancel)
        ending.start()
        begun = time.monotonic()
        fails(adbc_driver_manager.Error, cursor, ENDLESS, "ancel")
        assert time.monotonic() - begun < 30
        assert asked(cursor, "SELECT 7") == [(7,)]
    late = {"adbc.flight.sql.rpc.timeout_seconds.fetch": "1"}
    with connect(**late) as connection, connection.cursor() as cursor:
        fails(adbc_driver_manager.Error, cursor, ENDLESS, "eadline")
    # As any client of Flight says it, whose ticket it is; and what goes along with an answer.
    options = {"tls_root_certs": open(ROOT, "rb").read()} if ROOT else {}
    with pyarrow.flight.FlightClient(f"{SCHEME}://{ADDRESS}", **options) as client:
        pair = client.authenticate_basic_token(b"me", b"tgq-acme")
        assert pair == (b"authorization", b"Bearer tgq-acme"), pair
        names = {action.type for action in client.list_actions(pyarrow.flight.FlightCallOptions(headers=[pair]))}
        assert {"CancelFlightInfo", "CreatePreparedStatement"} <= names, names


passwords_and_tokens()
if not ROOT:
    values_and_parameters()
    errors_say_what_and_whose_fault()
    what_there_is()
    long_answers_come_while_they_are_made()
    queries_end_when_they_are_told_to()
