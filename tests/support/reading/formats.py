"""Answers of `POST /v1/sql` in each format, short and long, and one that fails on the way."""

import decimal
import http.client
import io
import json
import pathlib
import sys
import urllib.error
import urllib.request

import duckdb
import polars

QUERY, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])


def ask(sql, format):
    body = json.dumps({"sql": sql, "format": format}).encode()
    headers = {"authorization": "Bearer tgq-all", "content-type": "application/json"}
    return urllib.request.urlopen(urllib.request.Request(f"http://{QUERY}/v1/sql", body, headers), timeout=120)


ONE = "SELECT tenant, output_tokens, cost_usd, time, stream, tags FROM usage"
TIMES = 40
BESIDE = f"(SELECT price_id FROM prices ORDER BY price_id LIMIT {TIMES})"
# Noise that no format makes small: each answer is longer than what is held back.
NOISE = "random() AS a, random() AS b, random() AS c, random() AS d"
MANY = f"SELECT p.price_id AS one, q.price_id AS other, p.price_per_mtok_usd AS price, {NOISE} FROM prices p, {BESIDE} q"


def frames(sql):
    """The answer by each format, as a frame, and where it came in pieces."""
    answer = ask(sql, "arrow")
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert "complete_through" in json.loads(answer.headers["x-tollgate-as-of"])
    yield "arrow", polars.read_ipc_stream(io.BytesIO(answer.read())), answer
    answer = ask(sql, "parquet")
    (FOLDER / "answer.parquet").write_bytes(answer.read())
    yield "parquet", polars.read_parquet(FOLDER / "answer.parquet"), answer
    answer = ask(sql, "csv")
    yield "csv", polars.read_csv(io.BytesIO(answer.read())), answer


for format, frame, answer in frames(ONE):
    assert frame.shape == (1, 6), (format, frame)
    assert answer.headers["content-length"], format
    if format != "csv":
        assert frame["cost_usd"][0] > 0 and isinstance(frame["cost_usd"][0], decimal.Decimal), frame
        assert str(frame["time"].dtype) == "Datetime(time_unit='us', time_zone='UTC')", frame

count = json.load(ask("SELECT count(*) AS n FROM prices", "json"))["rows"][0]["n"] * TIMES
dearest = decimal.Decimal(json.load(ask("SELECT max(price_per_mtok_usd) AS usd FROM prices", "json"))["rows"][0]["usd"])
for format, frame, answer in frames(MANY):
    assert frame.height == count, (format, frame.height, count)
    assert answer.headers["transfer-encoding"] == "chunked", format
    if format != "csv":
        assert frame["price"].max() == dearest, (format, frame["price"].max(), dearest)
found = duckdb.sql(f"SELECT count(*), max(price) FROM '{FOLDER}/answer.parquet'").fetchone()
assert found == (count, dearest), found
rows = json.load(ask(MANY, "json"))
assert len(rows["rows"]) == count and rows["as_of"], len(rows["rows"])

# One that fails on the way is never taken for whole.
fails = (
    "SELECT p.price_id AS one, q.price_id AS other, 1 / CASE WHEN p.price_id = m.last THEN 0 ELSE 1 END AS x "
    f"FROM prices p, {BESIDE} q, (SELECT max(price_id) AS last FROM prices) m"
)
for format in ("csv", "arrow", "parquet", "json"):
    try:
        ask(fails, format).read()
    except (http.client.IncompleteRead, urllib.error.HTTPError) as error:
        print(format, type(error).__name__)
    else:
        raise AssertionError(f"{format}: a part was given for the whole")
