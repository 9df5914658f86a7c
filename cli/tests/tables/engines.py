"""Runs the queries of docs/FLEET.md on every query engine that is installed, and compares the answers.

    python3 engines.py TABLES DOCUMENT DUMPS.json

TABLES is a directory that `heapledger export --format parquet` wrote, and DUMPS.json a list of the same dumps, each as
`heapledger export --format json` writes it. The answers of the engines must equal each other and those that this
script computes from the JSON. Engines: duckdb, datafusion, chdb, pyspark; pyarrow reads every table. An engine that is
not installed is reported as SKIPPED. Exit codes: 0 equal, 1 a difference, 5 no engine is installed.
"""

import collections
import decimal
import hashlib
import json
import math
import os
import re
import sys

TABLES = "run site frame histogram block event timeline thread scope remote_free quality".split()


def blocks(document):
    """The fenced blocks of the document: those of an engine by its name, the queries in their order."""
    found = re.findall(r"```sql ?(\w*)\n(.*?)```", document, re.S)
    views = {engine: text.strip().rstrip(";") for engine, text in found if engine}
    return views, [text.strip() for engine, text in found if not engine]


def plain(value):
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, decimal.Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 6)
    return value


def rows(answer):
    return [tuple(plain(value) for value in row) for row in answer]


# Each engine is a function that makes a function from a query to its rows.


def duckdb(view):
    import duckdb

    connection = duckdb.connect()
    for table in TABLES:
        connection.execute(view(table))
    return lambda query: rows(connection.execute(query).fetchall())


def datafusion(view):
    from datafusion import SessionContext

    context = SessionContext()
    for table in TABLES:
        context.sql(view(table))

    def ask(query):
        answer = context.sql(query).to_pydict()
        return rows(zip(*answer.values()))

    return ask


def clickhouse(view):
    from chdb import session

    chdb = session.Session()
    chdb.query("CREATE DATABASE IF NOT EXISTS heaps")
    chdb.query("USE heaps")
    for table in TABLES:
        chdb.query(view(table))

    def ask(query):
        settings = "SETTINGS output_format_json_quote_64bit_integers = 0"
        text = chdb.query(f"{query} {settings}", "JSONCompact").bytes().decode()
        return rows(json.loads(text)["data"])

    return ask


def spark(view):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2").config("spark.driver.host", "127.0.0.1")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    for table in TABLES:
        session.sql(view(table))
    return lambda query: rows(tuple(row) for row in session.sql(query).collect())


ENGINES = {"duckdb": duckdb, "datafusion": datafusion, "clickhouse": clickhouse, "spark": spark}
MODULES = {"duckdb": "duckdb", "datafusion": "datafusion", "clickhouse": "chdb", "spark": "pyspark"}


# The same answers from the JSON of the dumps.


def path(site):
    return [name for name in site["functions"] if not name.startswith("[scope ")]


def key(site):
    names = "".join(name + "\0" for name in path(site)) or "(no stack)\0"
    return int.from_bytes(hashlib.sha256(names.encode()).digest()[:8], "big", signed=True)


def place(site):
    return path(site)[0] if path(site) else "(no stack)"


def build(dump):
    return dump["modules"][0]["build_id"]


def is_complete(dump):
    return dump["quality"]["lost"] == 0 and not dump["damage"]


def by_key(dump, figure):
    sums = collections.Counter()
    for site in dump["sites"]:
        sums[key(site)] += site[figure]
    return sums


def first_rank(values, percent):
    """The smallest value at or below which this share of the values lies."""
    ranked = sorted(values)
    return next(value for rank, value in enumerate(ranked, 1) if 100 * rank >= percent * len(ranked))


def expected(dumps):
    places = {key(site): place(site) for dump in dumps for site in dump["sites"]}
    complete = [dump for dump in dumps if is_complete(dump)]
    return [
        growth(dumps, complete, places),
        at_peak(complete, places),
        candidates(complete, places),
        lifetimes(dumps),
        remote_frees(dumps, places),
        completeness(dumps),
        held(dumps),
    ]


def growth(dumps, complete, places):
    answer = []
    for service in {dump["process"]["program"] for dump in dumps}:
        started = {}
        for dump in dumps:
            if dump["process"]["program"] == service:
                first = started.get(build(dump), math.inf)
                started[build(dump)] = min(first, dump["process"]["started_unix_ns"])
        newest = sorted(started, key=lambda build: (-started[build], build))[:2]
        if len(newest) < 2:
            continue
        of = [
            [dump for dump in complete if dump["process"]["program"] == service and build(dump) == wanted]
            for wanted in newest
        ]
        if not of[0] or not of[1]:
            continue
        after, before = (sum((by_key(dump, "live_bytes") for dump in part), collections.Counter()) for part in of)
        keys = {key(site) for part in of for dump in part for site in dump["sites"]}
        for site in keys:
            old, new = before[site] / len(of[1]), after[site] / len(of[0])
            answer.append((service, site, places[site], old, new, new - old))
    return sorted(answer, key=lambda row: (-row[5], row[1]))[:20]


def at_peak(complete, places):
    hosts = collections.defaultdict(dict)
    for dump in complete:
        for site, value in by_key(dump, "at_peak_bytes").items():
            host = dump["process"]["host"]
            hosts[site][host] = max(hosts[site].get(host, 0), value)
        for site in {key(site) for site in dump["sites"]}:
            hosts[site].setdefault(dump["process"]["host"], 0)
    answer = [
        (site, places[site], len(of), first_rank(of.values(), 50), first_rank(of.values(), 95))
        for site, of in hosts.items()
    ]
    return sorted(answer, key=lambda row: (-row[4], row[0]))[:20]


def candidates(complete, places):
    processes = collections.defaultdict(list)
    for dump in complete:
        process = dump["process"]
        processes[process["host"], process["pid"], process["started_unix_ns"]].append(dump)
    answer = []
    for (host, pid, _), of in processes.items():
        of.sort(key=lambda dump: dump["process"]["duration_ns"])
        live = collections.defaultdict(list)
        for dump in of:
            sums = by_key(dump, "live_bytes")
            for site in {key(site) for site in dump["sites"]}:
                live[site].append(sums[site])
        for site, values in live.items():
            steps = [later > earlier for earlier, later in zip(values, values[1:])]
            if len(steps) >= 4 and 10 * sum(steps) >= 9 * len(steps):
                answer.append((host, pid, site, places[site], len(steps), sum(steps), max(values[1:])))
    return sorted(answer, key=lambda row: (-row[6], row[0], row[1], row[2]))[:20]


def lifetimes(dumps):
    buckets = collections.defaultdict(collections.Counter)
    for dump in dumps:
        for site in dump["sites"]:
            for bucket in site["lifetimes_ns"]:
                most = min(bucket["high"], 2**63 - 1)
                buckets[key(site)][most] += bucket["blocks"]
    answer = []
    for site, of in buckets.items():
        freed, so_far, bounds = sum(of.values()), 0, {}
        for most in sorted(of):
            so_far += of[most]
            for percent in (50, 99):
                if 100 * so_far >= percent * freed:
                    bounds.setdefault(percent, most)
        answer.append((site, freed, bounds[50], bounds[99]))
    return sorted(answer, key=lambda row: (-row[1], row[0]))[:20]


def remote_frees(dumps, places):
    remote = sum((by_key(dump, "cross_thread_frees") for dump in dumps), collections.Counter())
    freed = sum((by_key(dump, "freed_blocks") for dump in dumps), collections.Counter())
    answer = [(site, places[site], value, freed[site]) for site, value in remote.items() if value > 0]
    return sorted(answer, key=lambda row: (-row[2], row[0]))[:20]


def completeness(dumps):
    answer = []
    for host in {dump["process"]["host"] for dump in dumps}:
        of = [dump for dump in dumps if dump["process"]["host"] == host]
        total = lambda figure: sum(dump["quality"][figure] for dump in of)
        ppm = [
            dump["quality"]["recorded"] * 10**6 // max(dump["quality"]["recorded"] + dump["quality"]["lost"], 1)
            for dump in of
        ]
        whole = sum(is_complete(dump) for dump in of)
        answer.append((host, len(of), whole, total("recorded"), total("lost"), total("sampled_out"), min(ppm)))
    return sorted(answer, key=lambda row: (row[6], row[0]))


def held(dumps):
    scopes = collections.defaultdict(list)
    for dump in dumps:
        if dump["process"]["reason"] == "exit":
            for scope in dump.get("scopes", []):
                scopes[dump["process"]["program"], scope["name"]].append(scope)
    answer = []
    for (service, name), of in scopes.items():
        live = [scope["total_bytes"] - scope["freed_bytes"] for scope in of]
        blocks = sum(scope["total_blocks"] - scope["freed_blocks"] for scope in of)
        if sum(live) > 0:
            allocated = sum(scope["total_bytes"] for scope in of)
            answer.append((service, name, len(of), allocated, sum(live), blocks, max(live)))
    return sorted(answer, key=lambda row: (-row[4], row[0], row[1]))[:20]


SUMS = "total_blocks total_bytes freed_blocks freed_bytes live_blocks live_bytes at_peak_blocks at_peak_bytes".split()


def sums(dumps):
    """For each run, its totals and the sums over its sites."""
    answer = []
    for dump in dumps:
        process = dump["process"]
        totals = [dump["totals"][figure] for figure in ("total_blocks", "total_bytes", "live_bytes", "peak_bytes")]
        over = [sum(site[figure] for site in dump["sites"]) for figure in SUMS]
        answer.append((process["host"], process["pid"], process["duration_ns"], *totals, *over))
    return sorted(answer)


SUMS_QUERY = f"""
SELECT run.host AS host, run.pid AS pid, run.duration_ns AS duration_ns, max(run.total_blocks) AS blocks,
       max(run.total_bytes) AS bytes, max(run.live_bytes) AS live, max(run.peak_bytes) AS peak,
       {", ".join(f"sum(site.{figure}) AS sum_{figure}" for figure in SUMS)}
FROM run JOIN site ON site.run_id = run.run_id
GROUP BY run.run_id, run.host, run.pid, run.duration_ns ORDER BY host, pid, duration_ns
"""


def main():
    tables, document, dumps = sys.argv[1:4]
    views, queries = blocks(open(document, encoding="utf-8").read())
    dumps = json.load(open(dumps, encoding="utf-8"))
    if len(queries) != 7 or set(views) != set(ENGINES):
        sys.exit(f"{document} has {len(queries)} queries, and views for {sorted(views)}")
    right = [rows(answer) for answer in expected(dumps)] + [rows(sums(dumps))]
    if any(not answer for answer in right):
        sys.exit("a query of the document has no answer in these dumps: the comparison would prove nothing")
    wrong = ran = 0
    os.chdir(os.path.dirname(os.path.abspath(tables)) or ".")
    directory = os.path.basename(os.path.abspath(tables))
    for engine, start in ENGINES.items():
        try:
            __import__(MODULES[engine])
        except ImportError:
            print(f"SKIPPED {engine}: the module {MODULES[engine]} is not installed")
            continue
        ran += 1
        view = lambda table: views[engine].replace("{table}", table).replace("heaps/", directory + "/")
        ask = start(view)
        answers = [ask(query) for query in queries] + [sorted(ask(SUMS_QUERY))]
        unequal = [at for at, (answer, right) in enumerate(zip(answers, right), 1) if answer != right]
        for at in unequal:
            print(f"{engine}, query {at}:\n  {answers[at - 1]}\n  instead of\n  {right[at - 1]}")
        wrong += len(unequal)
        counts = [len(answer) for answer in answers]
        print(f"{engine}: {len(answers) - len(unequal)} of {len(answers)} answers are right; rows {counts}")
    try:
        from pyarrow import dataset
    except ImportError:
        print("SKIPPED pyarrow: the module pyarrow is not installed")
    else:
        ran += 1
        counts = {table: dataset.dataset(f"{directory}/{table}", partitioning="hive").count_rows() for table in TABLES}
        runs = dataset.dataset(f"{directory}/run", partitioning="hive").to_table().to_pydict()
        if sorted(runs["total_bytes"]) != sorted(dump["totals"]["total_bytes"] for dump in dumps):
            print("pyarrow: another total_bytes")
            wrong += 1
        print(f"pyarrow: {counts}")
    sys.exit(5 if ran == 0 else 1 if wrong else 0)


if __name__ == "__main__":
    main()
