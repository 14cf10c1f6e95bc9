"""``python -m benchmarks.suite_parity``: 10,000 random suites on random tables, judged by GX, in SQL and row by row.

Prints every difference that has no name, and how often each named deviation was met (docs/row-validator.md has the
reasons); exit code 1 where one has no name. A case is the number in front of it: ``tests.expectations.generated.case``.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.expectations.generated import case
from tests.expectations.three_ways import compare

RESULTS = Path(__file__).parent / "results" / "suite-parity.json"
_RULES = 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite_parity", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="how many (default 10,000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default 0)")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    started = time.monotonic()
    judged: Counter[str] = Counter()
    named: Counter[str] = Counter()
    unexplained: list[str] = []
    numbers = range(arguments.first, arguments.first + arguments.cases)
    for number, counts, deviations, lines in _compared(numbers, arguments.processes):
        judged.update(counts)
        named.update(deviations)
        unexplained += [f"case {number}: {line}" for line in lines]
        for line in lines:
            print(f"case {number}: {line}", flush=True)
    results: dict[str, Any] = {
        "cases": len(numbers),
        "first": arguments.first,
        "rules": dict(sorted(judged.items())),
        "unexplained": unexplained,
        "deviations": dict(sorted(named.items())),
        "seconds": round(time.monotonic() - started),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    raise SystemExit(1 if unexplained else 0)


def _compared(numbers: range, processes: int) -> Iterator[tuple[int, Counter[str], Counter[str], list[str]]]:
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_one, numbers, chunksize=25)


def _one(number: int) -> tuple[int, Counter[str], Counter[str], list[str]]:
    warnings.simplefilter("ignore")
    compared = compare(case(number, _RULES))
    named = Counter(f"{found.engine}: {found.deviation}" for found in compared.differences if found.deviation)
    return number, compared.judged, named, [str(found) for found in compared.unexplained]


if __name__ == "__main__":
    main()
