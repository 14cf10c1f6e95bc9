"""Real drift, week by week: the customers of the worked example stop buying in spring 1997, and when it is an alarm.

``python -m benchmarks.drift_cdnow`` builds the example's features and compares the customers of every Monday with those
of the seven Mondays before it, as a night is with the nights before; writes docs/drift-cdnow.svg and the docs' table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.compute as pc

from skewguard import SkewGuard
from skewguard.checks.distribution import Night, check_distribution
from skewguard.config import Drift
from skewguard.drift.judging import Comparison
from skewguard.drift.nights import baseline, unlike_nights
from skewguard.drift.vectors import DriftColumn, TableVectors, columns_of, profile_vectors
from skewguard.profile import Bins, ColumnProfile

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "drift_cdnow.json"
PICTURE = ROOT / "docs" / "drift-cdnow.svg"
WEEKS = [datetime(1997, 1, 27, tzinfo=UTC) + timedelta(weeks=week) for week in range(19)]
BEFORE = 7
CUSTOMERS = 2_000
TOLD = ("orders_7d", "spend_7d", "orders_30d")


def _vectors(guard: SkewGuard, monday: datetime, customers: list[int]) -> TableVectors:
    rows = pd.DataFrame({"customer_id": customers, "event_timestamp": monday})
    table = guard.historical_features(rows, "spend_v1")
    assert not isinstance(table, int)
    known = table.filter(pc.is_valid(table.column("tenure_days")))  # the others were not customers yet
    return TableVectors.of_outputs(known, guard.service("spend_v1"), "event_timestamp", False)


def weeks(folder: Path) -> list[dict[str, Any]]:
    """Each Monday: what the check says of the features told, and how much was bought in the week before it."""
    repo = folder / "repo"
    shutil.copytree(ROOT / "feature_repo", repo, ignore=shutil.ignore_patterns(".skewguard", "registry.db"))
    subprocess.run([sys.executable, "build_features.py"], cwd=repo, check=True, stdout=subprocess.DEVNULL)
    guard = SkewGuard(repo)
    guard.feast.apply()
    purchases = repo / "data" / "cdnow_purchases.parquet"
    picked = duckdb.execute(
        f"SELECT DISTINCT customer_id FROM '{purchases}' ORDER BY hash(customer_id) LIMIT {CUSTOMERS}"
    ).fetchall()
    customers = sorted(row[0] for row in picked)
    columns = [c for c in columns_of(guard.service("spend_v1")) if c.feature in TOLD]
    bins: dict[str, Bins] = {}
    before: list[dict[str, ColumnProfile]] = []
    found = []
    for monday in WEEKS:
        vectors = _vectors(guard, monday, customers)
        profiles = profile_vectors(vectors, columns, bins)
        bins = bins or {name: profile.bins for name, profile in profiles.items()}
        found.append(_week(monday, vectors, columns, profiles, before[-BEFORE:]))
        before.append(profiles)
    return found


def _week(
    monday: datetime, vectors: TableVectors, columns: list[DriftColumn], now: dict[str, ColumnProfile],
    before: list[dict[str, ColumnProfile]],
) -> dict[str, Any]:  # fmt: skip
    comparisons = []
    for column in columns:
        base = baseline([profiles[column.name] for profiles in before])
        if base is not None:
            usual = not unlike_nights(base, now[column.name])
            comparisons.append(
                Comparison(column.view, column.feature, column.dtype, "nights", base.profile, now[column.name],
                           spread=base.spread, usual=usual)
            )  # fmt: skip
    drift = check_distribution(Night(comparisons), Drift()).drift
    orders = vectors.table.column(next(c.name for c in columns if c.feature == "orders_7d"))
    return {
        "monday": f"{monday:%Y-%m-%d}",
        "customers": vectors.rows,
        "bought": float(pc.mean(pc.cast(pc.greater(orders, 0), "float64")).as_py()),
        "features": {one.feature: {"status": one.status, "effect": one.effect, "q": one.q_value} for one in drift},
    }


def picture(rows: list[dict[str, Any]]) -> str:
    """The share of customers who bought in the week, and whether ``orders_7d`` was an alarm."""
    width, height, left, base = 720, 260, 10, 210
    step = (width - left - 10) / len(rows)
    scale = (base - 30) / max(row["bought"] for row in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui,sans-serif" font-size="11">',
        "<title>Share of customers who bought in the week before each Monday, and alarms of orders_7d</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for place, row in enumerate(rows):
        x, tall, wide = left + place * step, row["bought"] * scale, step - 4
        alarm = row["features"].get("orders_7d", {}).get("status") == "drifted"
        colour, top, middle = "#c2570c" if alarm else "#9db8dd", base - tall, x + wide / 2
        parts.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>')
        parts.append(_label(middle, base + 14, row["monday"][5:], "#171a1f"))
        parts.append(_label(middle, top - 4, f"{row['bought']:.0%}" + (" !" if alarm else ""), "#171a1f"))
    parts.append(f'<text x="{left}" y="{base + 38}" fill="#171a1f">Mondays of 1997: share of the customers with an ')
    parts.append("order in the week before; orange and !: orders_7d is an alarm</text></svg>")
    return "".join(parts) + "\n"


def _label(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}">{text}</text>'


def table(rows: list[dict[str, Any]]) -> str:
    """The weeks as a table of the docs."""
    lines = ["| Monday | bought | " + " | ".join(f"`{name}`" for name in TOLD) + " |", "|---|---|" + "---|" * len(TOLD)]
    for row in rows:
        cells = []
        for name in TOLD:
            one = row["features"].get(name)
            told = "-" if one is None else f"{one['status']}, {one['effect']:.0%}"
            cells.append(f"**{told}**" if one is not None and one["status"] == "drifted" else told)
        lines.append(f"| {row['monday']} | {row['bought']:.0%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    os.environ.setdefault("SKEWGUARD_REDIS", "localhost:6379")  # read by feature_store.yaml; nothing connects to it
    with tempfile.TemporaryDirectory() as folder:
        found = weeks(Path(folder))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    PICTURE.write_text(picture(found))
    print(table(found))


if __name__ == "__main__":
    main()
