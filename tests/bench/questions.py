#!/usr/bin/env python3
"""Ten questions of a month of usage, to Tollgate and to DuckDB in turn, over the same Parquet files.

    cargo run --release --example lake -- fill DIR --rows 50000000
    tests/bench/questions.py --lake target/release/examples/lake --dir DIR
    tests/bench/questions.py --lake target/release/examples/lake --dir DIR --dashboards

What counts is processor time (user and system) of all threads of the process that answers, warm, the median of the rounds; answers are
given as Arrow by both. Of dashboards, which Tollgate alone is asked, by rollups, the wait on the wall counts. DuckDB reads the files that the table's Delta log names. Both may use --threads threads.
Needs Python's venv and pip, for DuckDB and pyarrow.
"""

import argparse, json, math, os, re, statistics, subprocess, sys, time, venv

PACKAGES = ["duckdb==2.0.1", "pyarrow==26.0.1", "deltalake==1.6.6"]


def packages():
    """Starts this script again with its packages."""
    home = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tollgate", "questions-1")
    python = os.path.join(home, "bin", "python")
    if sys.prefix == home:
        return
    if not os.path.exists(os.path.join(home, "ready")):
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
        open(os.path.join(home, "ready"), "w").close()
    os.execv(python, [python, *sys.argv])


class Tollgate:
    name = "tollgate"

    def __init__(self, program, folder, rollups):
        self.sign = "+" if rollups else ""
        self.process = subprocess.Popen([program, "ask", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # The clock of another process, as clock_getcpuclockid makes it.
        self.clock = (~self.process.pid << 3) | 2

    def cpu(self):
        return time.clock_gettime(self.clock)

    def ask(self, sql):
        self.process.stdin.write((self.sign + " ".join(sql.split()) + "\n").encode())
        self.process.stdin.flush()
        length = int(self.process.stdout.readline())
        return length, self.process.stdout.read(abs(length))

    def rows(self, answer):
        import pyarrow.ipc as ipc
        length, body = answer
        if length < 0:
            raise RuntimeError(body.decode())
        return ipc.open_stream(body).read_all()

    def resident(self):
        told = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmHWM:\s+(\d+)", told)[1]) // 1024


class Duck:
    name = "duckdb"

    def __init__(self, folder, prices, threads):
        import duckdb, deltalake
        self.db = duckdb.connect()
        self.db.execute(f"SET threads = {threads}; SET TimeZone = 'UTC'")
        files = deltalake.DeltaTable(os.path.join(folder, "lake", "usage")).file_uris()
        self.db.execute(f"CREATE VIEW usage AS SELECT * FROM read_parquet({files!r}, hive_partitioning = false)")
        self.db.register("priced", prices)
        self.db.execute("CREATE TABLE prices AS SELECT * FROM priced")

    def cpu(self):
        return time.process_time()

    def ask(self, sql):
        return self.db.sql(sql).to_arrow_table()

    def rows(self, answer):
        return answer


def questions(values, file="questions.sql"):
    """By name, the text for Tollgate and that for DuckDB."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), file)
    texts, name = {}, None
    for part in open(path).read().split("\n\n")[1:]:
        said = re.match(r"-- (.*)\n", part)
        ours, *theirs = part[said.end():].split("-- duckdb\n")
        texts[said[1]] = (ours, theirs[0] if theirs else ours)
    for name, pair in texts.items():
        for key, value in values.items():
            pair = tuple(text.replace(f":{key}", value) for text in pair)
        texts[name] = tuple(text.strip().rstrip(";") for text in pair)
    return texts


def fingerprint(table):
    """What the columns of an answer come to, in any order of rows."""
    out = [table.num_rows]
    for column in table.columns:
        values = [value for value in column.to_pylist() if value is not None]
        first = values[0] if values else ""
        if isinstance(first, (int, float)) or hasattr(first, "as_tuple"):
            out.append((len(values), sum(values)))
        else:
            out.append((len(values), len(set(map(str, values)))))
    return out


def same(name, ours, theirs):
    """Integers and decimals have to be equal; what is a fraction or approximate, nearly."""
    near = 0.03 if "approximate" in name else 1e-9
    def equal(one, other):
        if isinstance(one, tuple):
            return one[0] == other[0] and equal(one[1], other[1])
        if isinstance(one, float) or isinstance(other, float) or "approximate" in name:
            return math.isclose(one, other, rel_tol=near) or one != one
        return one == other
    return len(ours) == len(theirs) and all(map(equal, ours, theirs))


def dashboards(tollgate, rounds):
    for name, (text, _) in questions({"tenant": "tenant-0000"}, "dashboards.sql").items():
        waits = []
        for _ in range(rounds + 1):
            began = time.monotonic()
            answer = tollgate.ask(text)
            waits.append(time.monotonic() - began)
        tollgate.rows(answer)
        goal = 200 if name.startswith("all") else 50
        print(f"{name:42} {statistics.median(waits[1:]) * 1e3:6.0f} ms, the first {waits[0] * 1e3:.0f} ms  (goal {goal} ms)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="the example `lake`")
    parser.add_argument("--dir", required=True, help="what it filled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="questions whose names have this in them")
    parser.add_argument("--rollups", action="store_true", help="let Tollgate answer by rollups; else it reads all rows")
    parser.add_argument("--dashboards", action="store_true", help="ask what dashboards ask, by rollups, and nothing of DuckDB")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    tollgate = Tollgate(args.lake, args.dir, args.rollups or args.dashboards)
    if args.dashboards:
        return dashboards(tollgate, args.rounds)
    prices = tollgate.rows(tollgate.ask("SELECT * FROM prices"))
    duck = Duck(args.dir, prices, args.threads)
    call = duck.db.execute("SELECT call_id FROM usage WHERE time >= TIMESTAMPTZ '2026-10-03T09:00:00Z' ORDER BY time LIMIT 1").fetchall()[0][0]
    asked = {name: text for name, text in questions({"tenant": "tenant-0000", "call": call}).items() if args.only in name}
    cpu = {name: ([], []) for name in asked}
    wall = {name: ([], []) for name in asked}
    for turn in range(args.rounds + 1):
        for name, texts in asked.items():
            answers = []
            for place, (engine, text) in enumerate(zip((tollgate, duck), texts)):
                before, began = engine.cpu(), time.monotonic()
                answer = engine.ask(text)
                after, ended = engine.cpu(), time.monotonic()
                if turn:
                    cpu[name][place].append(after - before)
                    wall[name][place].append(ended - began)
                answers.append(engine.rows(answer))
            if not turn:
                ours, theirs = map(fingerprint, answers)
                assert same(name, ours, theirs), f"{name}: {ours} is not {theirs}"
    ratios = []
    for name in asked:
        ours, theirs = (statistics.median(times) * 1e3 for times in cpu[name])
        waits = [statistics.median(times) * 1e3 for times in wall[name]]
        ratios.append(ours / theirs)
        print(f"{name:42} tollgate {ours:8.1f} ms  duckdb {theirs:8.1f} ms  {ours / theirs:5.2f}x   (wall {waits[0]:.0f} and {waits[1]:.0f} ms)")
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"geometric mean {mean:.2f}x, worst {max(ratios):.2f}x; most that was resident {tollgate.resident()} MB")
    if args.json:
        print(json.dumps(dict(zip(asked, ratios))))


if __name__ == "__main__":
    packages()
    main()
