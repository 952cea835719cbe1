"""Opens Parquet files with DuckDB, pandas, Polars and pyarrow, and compares what they show.

    segments.py GLOB EXPECTED.json [OUT_DIR]

EXPECTED.json holds {"columns": {name: "integer" | "timestamp" | "text", ...}, "rows": [[...], ...]}: the
columns in their order, and all rows of all files, by the first column; a timestamp is in milliseconds since
1970. With OUT_DIR each program also writes the rows back to OUT_DIR/PROGRAM.parquet, as it likes.

Ends with status 1 and says what differs, or prints one line a program.
"""

import glob
import json
import sys

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.parquet

EPOCH = pandas.Timestamp(0, tz="UTC")


def main():
    pattern, expected = sys.argv[1], sys.argv[2]
    out = sys.argv[3] if len(sys.argv) > 3 else None
    paths = sorted(glob.glob(pattern))
    if not paths:
        sys.exit(f"no file is called {pattern}")
    with open(expected, encoding="utf-8") as file:
        expected = json.load(file)
    columns, rows = expected["columns"], expected["rows"]
    for program in [with_duckdb, with_pandas, with_polars, with_pyarrow]:
        name = program.__name__.removeprefix("with_")
        types, found = program(pattern, paths, columns, out and f"{out}/{name}.parquet")
        differ(name, "types", list(columns.items()), types)
        differ(name, "number of rows", len(rows), len(found))
        found.sort(key=lambda row: row[0])
        for number, (row, other) in enumerate(zip(rows, found)):
            differ(name, f"row {number}", row, list(other))
        print(f"{name}: {len(found)} rows of {len(paths)} files are as they should be")
    if "user_id" in columns:
        filters(pattern, columns, rows)


def differ(name, what, expected, found):
    if expected != found:
        sys.exit(f"{name}: {what}\n  expected {expected!r}\n  found    {found!r}")


def with_duckdb(pattern, paths, columns, out):
    table = f"read_parquet('{pattern}')"
    kinds = {"BIGINT": "integer", "TIMESTAMP WITH TIME ZONE": "timestamp", "VARCHAR": "text"}
    described = duckdb.sql(f"describe select * from {table}").fetchall()
    types = [(row[0], kinds.get(row[1], row[1])) for row in described]
    shown = [f"epoch_ms({name})" if kind == "timestamp" else name for name, kind in columns.items()]
    rows = duckdb.sql(f"select {', '.join(shown)} from {table}").fetchall()
    if out:
        duckdb.sql(f"copy (select * from {table}) to '{out}' (format parquet)")
    return types, rows


def with_pandas(pattern, paths, columns, out):
    frame = pandas.concat([pandas.read_parquet(path) for path in paths], ignore_index=True)
    kinds = {"int64": "integer", "datetime64[ms, UTC]": "timestamp", "object": "text", "str": "text"}
    types = [(name, kinds.get(str(kind), str(kind))) for name, kind in frame.dtypes.items()]
    if out:
        frame.to_parquet(out)
    shown = []
    for name, kind in columns.items():
        values = frame[name]
        if kind == "timestamp":
            there = values.notna()
            millis = ((values - EPOCH) // pandas.Timedelta(milliseconds=1)).where(there)
            values = [int(number) if ok else None for number, ok in zip(millis, there)]
        else:
            values = [None if ok else value for value, ok in zip(values.tolist(), values.isna())]
        shown.append(values)
    return types, list(zip(*shown))


def with_polars(pattern, paths, columns, out):
    frame = polars.read_parquet(paths)
    kinds = {
        polars.Int64: "integer",
        polars.Datetime("ms", "UTC"): "timestamp",
        polars.String: "text",
    }
    types = [(name, kinds.get(kind, str(kind))) for name, kind in frame.schema.items()]
    if out:
        frame.write_parquet(out)
    return types, frame.with_columns(polars.col(polars.Datetime).dt.epoch("ms")).rows()


def with_pyarrow(pattern, paths, columns, out):
    table = pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in paths])
    kinds = {
        pyarrow.int64(): "integer",
        pyarrow.timestamp("ms", tz="UTC"): "timestamp",
        pyarrow.string(): "text",
    }
    types = [(field.name, kinds.get(field.type, str(field.type))) for field in table.schema]
    if out:
        pyarrow.parquet.write_table(table, out, compression="zstd")
    shown = [
        column.cast(pyarrow.int64()) if kind == "timestamp" else column
        for column, kind in zip(table.columns, columns.values())
    ]
    return types, list(zip(*[column.to_pylist() for column in shown]))


def filters(pattern, columns, rows):
    """Statistics and Bloom filters hide nothing from who asks for some of the rows."""
    at = {name: place for place, name in enumerate(columns)}
    users = {}
    for row in rows:
        if row[at["user_id"]] is not None:
            users[row[at["user_id"]]] = users.get(row[at["user_id"]], 0) + 1
    table = f"read_parquet('{pattern}')"
    sample = sorted(users)[:: max(1, len(users) // 50)] + ["nobody at all"]
    for user in sample:
        found = duckdb.execute(f"select count(*) from {table} where user_id = ?", [user]).fetchall()[0][0]
        differ("duckdb", f"rows of user {user!r}", users.get(user, 0), found)
    for column in ["seq", "date"]:
        values = sorted(row[at[column]] for row in rows if row[at[column]] is not None)
        low, high = values[len(values) // 3], values[len(values) // 2]
        number = f"epoch_ms({column})" if columns[column] == "timestamp" else column
        bounds = [f"make_timestamptz({v} * 1000)" if number != column else str(v) for v in (low, high)]
        query = f"select count(*) from {table} where {column} between {bounds[0]} and {bounds[1]}"
        found = duckdb.sql(query).fetchall()[0][0]
        differ("duckdb", f"rows by {column}", sum(low <= value <= high for value in values), found)
    print(f"duckdb: {len(sample)} users and two ranges are found")


main()
