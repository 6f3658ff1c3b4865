"""Reads tables of a lake as people read them, and says what each reader finds: by reader and table, rows and sums.

The arguments are the lake's folder, then SQL's names of tables. DuckDB's own reader of Delta tables is fetched from the network, so
it is given the files that the log names, as the README says.
"""

import json, sys

import deltalake, duckdb, polars

SUMS = {"usage": ["cost_usd", "input_tokens", "output_tokens", "requests"], "calls": ["cost_usd", "input_tokens", "requests"],
        "charges": ["cost_usd", "quantity", "requests"]}


def by_delta_rs(path, table):
    import pyarrow.compute as compute
    rows = deltalake.DeltaTable(path).to_pyarrow_table()
    return [rows.num_rows] + [compute.sum(rows[name]).as_py() for name in SUMS[table]] + [compute.max(rows["call_id"]).as_py()]


def by_polars(path, table):
    rows = polars.scan_delta(path)
    wanted = [polars.len()] + [polars.col(name).sum() for name in SUMS[table]] + [polars.col("call_id").max()]
    return list(rows.select(*[column.alias(str(place)) for place, column in enumerate(wanted)]).collect().row(0))


def by_duckdb(path, table, files=None):
    files = files or deltalake.DeltaTable(path).file_uris()
    sums = ", ".join(f"sum({name})" for name in SUMS[table])
    return list(duckdb.sql(f"SELECT count(*), {sums}, max(call_id) FROM read_parquet({files!r})").fetchall()[0])


lake, *tables = sys.argv[1:]
told = {}
for table in tables:
    path = f"{lake}/{table}"
    readers = {"delta-rs": by_delta_rs, "polars": by_polars, "duckdb": by_duckdb}
    told[table] = {name: read(path, table) for name, read in readers.items()}
    # What nobody should do.
    told[table]["glob"] = by_duckdb(path, table, f"{path}/day=*/*.parquet")
print(json.dumps(told, default=str))
