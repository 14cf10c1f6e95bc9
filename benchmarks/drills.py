"""Drills over three repositories: every fault at three shares, several at once, and clean stores after each writer.

``python -m benchmarks drills`` prints the confusion matrix of each repository and writes results/drills.json.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.drill_repos import NOW, SALES, WIDE, write_sales, write_wide
from skewguard import SkewGuard
from skewguard.drill import FAULTS, Drills, on_different_features, on_one_feature
from skewguard.drilling import Mended, Outcome, confusion, drill_once, matrix_lines
from skewguard.feast_repo import quiet_feast
from skewguard.offline.asof import latest_rows
from skewguard.offline.sources import connect
from skewguard.scratch import Scratch

SHARES = (1.0, 0.01, 0.001)
ENTITIES = 10_000
AT_ONCE = 0.01
_EXAMPLE = Path(__file__).parents[1] / "feature_repo"
_NORMAL_OF_FEAST = {"expired_but_served"}
"""What the guard rightly says of a store that Feast itself has filled: it writes rows past their TTL."""


@dataclass(frozen=True)
class Shape:
    """A repository, its service, and the moment of the drills."""

    name: str
    repo: Path
    service: str
    moment: datetime


def example(folder: Path) -> Shape:
    """The worked example on its real data: three views of about 24,000 customers."""
    repo = Path(shutil.copytree(_EXAMPLE, folder / "example", ignore=shutil.ignore_patterns(".skewguard", "*.db")))
    subprocess.run([sys.executable, "build_features.py"], cwd=repo, check=True, capture_output=True)
    SkewGuard(repo).feast.apply()
    return Shape("example", repo, "churn_v1", datetime(1998, 3, 30, 6, tzinfo=UTC))


def shapes(folder: Path, entities: int = ENTITIES) -> Iterator[Shape]:
    """All three, each made when it is asked for."""
    yield Shape("sales", write_sales(folder / "sales", entities), SALES, NOW)
    yield Shape("wide", write_wide(folder / "wide", entities), WIDE, NOW)
    yield example(folder)


def one_by_one(drills: Drills, shares: Sequence[float] = SHARES) -> Iterator[Outcome]:
    """Every fault that fits, at every share."""
    for share in shares:
        for name, fits in drills.places(list(FAULTS)).items():
            if fits:
                yield drill_once(drills, [name], share, mending=False)


def at_once(drills: Drills, share: float = AT_ONCE) -> Iterator[tuple[str, Outcome]]:
    """Pairs and triples of the causes that parity sees: each with some others, on different features and on the same.

    On the same: all pairs of causes of features that have a feature in common, and triples of neighbours.
    """
    places = {n: fits for n, fits in drills.places(_PARITY).items() if fits}
    names = list(places)
    rings = [[names[(i + step) % len(names)] for step in steps] for steps in _STEPS for i in range(len(names))]
    cells = [n for n in names if places[n][0].feature is not None]
    together = [*combinations(cells, 2), *zip(cells, cells[1:], cells[2:], strict=False)]
    for kind, sets, place in (("different", rings, on_different_features), ("same", together, on_one_feature)):
        for chosen in sets:
            fits = place({name: places[name] for name in chosen})
            if fits is not None:
                yield kind, _together(drills, chosen, share, fits)


_PARITY = [name for name, fault in FAULTS.items() if fault.check == "parity"]
_STEPS = ((0, 1), (0, 5), (0, 2, 7))


def _together(drills: Drills, names: Sequence[str], share: float, fits: dict[str, Any]) -> Outcome:
    scratch = drills.scratch
    assert scratch is not None
    started = time.perf_counter()
    try:
        proof = drills.prove(names, share, fits)
    finally:
        scratch.restore()
    return Outcome(proof, Mended(), scratch.watermark, scratch.as_of, time.perf_counter() - started)


def clean_stores(scratch: Scratch, drills: Drills) -> dict[str, dict[str, int]]:
    """What parity finds after each kind of write into an empty store: writer -> cause -> rows."""
    found = {}
    for writer, write in _WRITERS.items():
        scratch.client().flushdb()
        with quiet_feast():
            write(scratch)
        scratch.guard.feast.refresh()
        findings = drills.findings(["parity"]).values()
        found[writer] = {f"{f.cause.value} {f.view}.{f.feature}": f.count for f in findings}
        scratch.restore()
    return found


def _ours(scratch: Scratch) -> None:
    scratch.guard.materialize(as_of=scratch.as_of)


def _feast(scratch: Scratch) -> None:
    scratch.guard.feast.store.materialize(datetime(1990, 1, 1, tzinfo=UTC), scratch.as_of)


def _push(scratch: Scratch) -> None:
    """Every row that is inside its TTL, through a push source or, where a view has none, Feast's online writer."""
    store = scratch.guard.feast.store
    for view in scratch.guard.feast.service(scratch.service).views:
        with connect() as con:
            rows = latest_rows(con, view, scratch.as_of).to_pandas()
        if view.ttl is not None:
            rows = rows[rows["__event_ts"] >= scratch.as_of - view.ttl]
        names = {"__event_ts": view.source.timestamp_field, "__created_ts": view.source.created_timestamp_column}
        frame = rows.rename(columns={old: new for old, new in names.items() if new})
        if not view.join_keys:  # what is pushed there, Feast writes under a key that its own look-up never asks for
            store.materialize(datetime(1990, 1, 1, tzinfo=UTC), scratch.as_of, [view.name])
            continue
        source = getattr(scratch.guard.feast.feast_view(view.name), "stream_source", None)
        if source is not None:
            store.push(source.name, frame)
        else:
            store.write_to_online_store(view.name, frame)


_WRITERS: dict[str, Callable[[Scratch], None]] = {"ours": _ours, "feast materialize": _feast, "push": _push}


def measured(shape: Shape, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Everything over one repository, as plain data; says what does not hold as it comes."""
    guard = SkewGuard(shape.repo)
    started = time.perf_counter()
    with Scratch(guard, shape.service, shape.moment) as scratch:
        drills = Drills(guard, shape.service, shape.moment, scratch)
        before = [f.message for f in drills.findings(["parity", "freshness", "definition"]).values()]
        unfit = [name for name, fits in drills.places(list(FAULTS)).items() if not fits]
        single: dict[float, list[Outcome]] = {share: [] for share in SHARES}
        for outcome in one_by_one(drills):
            single[outcome.proof.share].append(outcome)
            _complain(outcome, say)
        for share, outcomes in single.items():
            say(f"\n{shape.name}, {share:g} of the rows")
            say("\n".join(matrix_lines(confusion(outcomes))))
        several = []
        for kind, outcome in at_once(drills):
            several.append((kind, outcome))
            _complain(outcome, say)
        clean = clean_stores(scratch, drills)
    every = [outcome for outcomes in single.values() for outcome in outcomes]
    data = {
        "repository": shape.name,
        "rows": {side.view.name: side.live.num_rows for side in drills.views},
        "before": before,
        "unfit": unfit,
        "drills": len(every),
        "hold": sum(o.holds for o in every),
        "at_once": {
            f"{kind} features, {size}": [
                sum(o.holds for o in found), len(found),
            ]
            for kind in ("different", "same") for size in (2, 3)
            if (found := [o for k, o in several if k == kind and len(o.proof.seen) == size])
        },
        "clean": clean,
        "matrix": {f"{share:g}": confusion(outcomes) for share, outcomes in single.items()},
        "failed": [o.to_dict() for o in [*every, *(o for _, o in several)] if not o.holds],
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip
    say(json.dumps({k: v for k, v in data.items() if k not in ("matrix", "failed")}, indent=1))
    return data


def _complain(outcome: Outcome, say: Callable[[str], None]) -> None:
    if not outcome.holds:
        say(f"DOES NOT HOLD: {json.dumps(outcome.to_dict())}")


def run(output: Path, machine: dict[str, Any]) -> bool:
    """All repositories; writes the results and tells whether everything holds."""
    with tempfile.TemporaryDirectory() as folder:
        results = [measured(shape) for shape in shapes(Path(folder))]
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps({"machine": machine, "repositories": results}, indent=2) + "\n")
    print(f"Written: {output}")
    odd = [c for r in results for w in r["clean"].values() for c in w if c.split()[0] not in _NORMAL_OF_FEAST]
    return not odd and not any(result["failed"] or result["before"] for result in results)
