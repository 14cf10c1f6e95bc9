"""A suite of 20 expectations over 1,000,000 rows x 16 columns: ours, GX's pandas engine, and the bare scan.

Each run is a process of its own: ``python -m benchmarks.suites SIDE FORM FOLDER`` (FORM: parquet or arrow); without
arguments all are run in turn, three times, and the medians count: of seconds by the clock, and of seconds of processor
time, which a busy machine bends less. Ours and the scan, which take a fraction of a second, are run five times in a
process and give the median of these; GX is run once. Our side and GX's must give the same results.

- ours: ``validate_gx(source, suite)``: planning, SQL, judging, GX's result objects in summary format.
- gx: GX's pandas engine on a NumPy frame that is there already, summary format, one ``graph_validate`` of the suite;
  neither reading the file nor making the frame is in its time.
- scan: one SELECT over the same 16 columns with 20 trivial aggregates in DuckDB, which look at every value once: the
  largest of each column (``max(c)``), and the least of the first four (``min(c)``). Opening the connection is part of
  it, as it is of ours.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import result, tell

RESULTS = Path(__file__).parent / "results" / "suites.json"
ROWS, REPEAT = 1_000_000, 3
_NAME = "benchmarks.suites"


def table(rows: int = ROWS) -> pa.Table:
    """Sixteen columns as feature tables have them: a key, numbers with nulls, categories, codes, flags, a timestamp."""
    random = np.random.default_rng(7)
    some = random.random(rows)

    def real(scale: float, nulls: float = 0.0) -> pa.Array:
        return pa.array(random.gamma(2.0, scale, rows), mask=some < nulls if nulls else None)

    countries = pa.array([f"C{i:02d}" for i in range(40)])
    segments = pa.array(["new", "active", "lapsed", "gone"])
    moments = 1_700_000_000_000_000 + random.integers(0, 10**13, rows)
    spend = random.gamma(2.0, 50.0, rows)
    return pa.table(
        {
            "customer_id": pa.array(random.permutation(rows)),
            "age": pa.array(random.integers(18, 95, rows), mask=some < 0.02),
            "orders_30d": pa.array(random.poisson(3, rows)),
            "orders_90d": pa.array(random.poisson(9, rows)),
            "spend_30d": spend,
            "spend_90d": spend + random.gamma(2.0, 100.0, rows),
            "basket": real(20.0, 0.05),
            "score": pa.array(random.random(rows), pa.float32()),
            "recency_days": real(15.0),
            "tenure_days": pa.array(random.integers(0, 4000, rows), pa.int32()),
            "country": countries.take(pa.array(random.integers(0, 40, rows))),
            "segment": segments.take(pa.array(random.integers(0, 4, rows))),
            "code": pa.array([f"AB-{i:04d}" for i in range(500)]).take(pa.array(random.integers(0, 500, rows))),
            "is_member": pa.array(random.random(rows) < 0.3),
            "updated_at": pa.array(moments, pa.timestamp("us", "UTC")),
            "discount": real(0.1, 0.3),
        }
    )


def _rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


SUITE: dict[str, Any] = {
    "name": "benchmark",
    "expectations": [
        _rule("table_row_count_to_be_between", min_value=1),
        _rule("column_values_to_be_unique", column="customer_id"),
        _rule("column_values_to_not_be_null", column="customer_id"),
        _rule("column_values_to_be_of_type", column="spend_30d", type_="float64"),
        _rule("column_values_to_not_be_null", column="age", mostly=0.95),
        _rule("column_values_to_be_between", column="age", min_value=18, max_value=95),
        _rule("column_values_to_be_between", column="orders_30d", min_value=0, max_value=200),
        _rule("column_pair_values_a_to_be_greater_than_b", column_A="spend_90d", column_B="spend_30d", or_equal=True),
        _rule("column_values_to_be_between", column="basket", min_value=0, max_value=100, mostly=0.9),
        _rule("column_values_to_be_between", column="score", min_value=0, max_value=1),
        _rule("column_mean_to_be_between", column="recency_days", min_value=20, max_value=40),
        _rule("column_median_to_be_between", column="spend_90d", min_value=100, max_value=400),
        _rule("column_quantile_values_to_be_between", column="tenure_days",
              quantile_ranges={"quantiles": [0.05, 0.95], "value_ranges": [[100, 300], [3700, 3900]]}),
        _rule("column_max_to_be_between", column="orders_90d", max_value=300),
        _rule("column_values_to_be_in_set", column="segment", value_set=["new", "active", "lapsed", "gone"]),
        _rule("column_values_to_match_regex", column="code", regex=r"^[A-Z]{2}-\d{4}$"),
        _rule("column_value_lengths_to_equal", column="country", value=3),
        _rule("column_distinct_values_to_be_in_set", column="is_member", value_set=[True, False]),
        _rule("column_values_to_be_between", column="updated_at", min_value="2023-01-01", max_value="2030-01-01"),
        _rule("column_stdev_to_be_between", column="discount", min_value=0.05, max_value=0.5),
    ],
}  # fmt: skip


def _given(form: str, folder: Path) -> Any:
    path = folder / "rows.parquet"
    return pq.read_table(path) if form == "arrow" else path


class Clock:
    """Seconds since it was made: by the clock, and of processor time of all threads of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._wall, "cpu_seconds": time.process_time() - self._cpu}


def ours(form: str, folder: Path) -> tuple[dict[str, float], Any]:
    from skewguard.expectations.gx_results import validate_gx
    from skewguard.expectations.suites import parse_suite

    suite, source = parse_suite(SUITE), _given(form, folder)
    seconds, found = _several(lambda: validate_gx(source, suite))
    assert all(item.meta["judged_by"] == "sql" for item in found.results)
    return seconds, [item.to_json_dict() for item in found.results]


def gx(_: str, folder: Path) -> tuple[dict[str, float], Any]:
    from skewguard.expectations import great_expectations_import
    from skewguard.expectations.frames import value_frame
    from skewguard.expectations.suites import parse_suite

    library, suite = great_expectations_import.load(), parse_suite(SUITE)
    frame = value_frame(pq.read_table(folder / "rows.parquet"), table(1).column_names)
    clock = Clock()
    engine = library.Engine()
    engine.load_batch_data("table", frame)
    configurations = [
        library.Configuration(type=rule.type, kwargs=dict(rule.kwargs), meta={"position": rule.position})
        for rule in suite.rules
    ]
    found = library.Validator(execution_engine=engine).graph_validate(
        configurations=configurations,
        runtime_configuration={"result_format": {"result_format": "SUMMARY"}, "catch_exceptions": True},
    )
    seconds = clock.read()
    in_order = sorted(found, key=lambda item: item.expectation_config.meta["position"])
    return seconds, [item.to_json_dict() for item in in_order]


def scan(form: str, folder: Path) -> tuple[dict[str, float], Any]:
    from skewguard.expectations.sql.source import columns_of, open_source
    from skewguard.offline.sources import connect

    source = _given(form, folder)

    def once() -> Any:
        opened = open_source(source)
        columns = list(columns_of(opened).values())
        with connect() as con:
            rows = opened.attach(con, columns).sql
            asked = [f"max({c.sql})" for c in columns] + [f"min({c.sql})" for c in columns[:4]]
            return con.execute(f"SELECT {', '.join(asked)} FROM ({rows})").fetchall()

    return _several(once)[0], None


def _several(run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """The median figures of five runs, and what the last gave."""
    figures, found = [], None
    for _ in range(5):
        clock = Clock()
        found = run()
        figures.append(clock.read())
    return {key: statistics.median(one[key] for one in figures) for key in figures[0]}, found


SIDES: dict[str, Callable[[str, Path], tuple[dict[str, float], Any]]] = {"ours": ours, "gx": gx, "scan": scan}
RUNS = (("ours", "parquet"), ("scan", "parquet"), ("ours", "arrow"), ("scan", "arrow"), ("gx", "frame"))


def same(first: Any, second: Any) -> bool:
    """Whether two JSON values are equal, floats to a relative 1e-9."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return first == second or abs(first - second) <= 1e-9 * abs(second)
    return bool(first == second)


def main() -> None:
    if len(sys.argv) == 4:
        seconds, found = SIDES[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
        if found is not None:
            kept = [{key: item[key] for key in ("success", "result")} for item in found]
            (Path(sys.argv[3]) / f"{sys.argv[1]}.json").write_text(json.dumps(kept, default=float))
        tell(**seconds)
        return
    runs: dict[str, list[dict[str, Any]]] = {f"{side} {form}": [] for side, form in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table(), Path(folder) / "rows.parquet")
        for _ in range(REPEAT):
            for side, form in RUNS:
                runs[f"{side} {form}"].append(result(_NAME, side, form, folder))
                if (side, form) == RUNS[-1]:
                    mine, theirs = (json.loads((Path(folder) / f"{name}.json").read_text()) for name in ("ours", "gx"))
                    different = [i for i, pair in enumerate(zip(mine, theirs, strict=True)) if not same(*pair)]
                    assert not different, [(mine[i], theirs[i]) for i in different]
    report(runs)


def report(runs: dict[str, list[dict[str, Any]]]) -> None:
    medians = {
        name: {key: statistics.median(one[key] for one in found) for key in ("seconds", "cpu_seconds", "peak_gb")}
        for name, found in runs.items()
    }
    for name, one in medians.items():
        print(f"{name:14} {one['seconds']:7.3f} s  {one['cpu_seconds']:7.3f} s of processor  {one['peak_gb']:.2f} GB")
    for form in ("parquet", "arrow"):
        for key, words in (("seconds", "by the clock"), ("cpu_seconds", "in processor time")):
            mine, theirs, bare = (medians[name][key] for name in (f"ours {form}", "gx frame", f"scan {form}"))
            print(f"{form} {words}: {theirs / mine:.1f} x faster than GX; {mine / bare:.2f} scans")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"runs": runs, "medians": medians}, indent=2) + "\n")


if __name__ == "__main__":
    main()
