"""Transform: do on-demand views answer alike in training and in serving, from equal inputs?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.equality import equal_sql
from skewguard.config import ServicePolicy, Tolerance
from skewguard.definitions import FieldDef, OnDemandDef
from skewguard.findings import Cause, CheckResult, Finding
from skewguard.plain import plain
from skewguard.stats import wilson_interval

CHECK = "transform"
SAMPLES, _SHOWN = 10, 3

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What one engine made of some rows: ``columns`` by output (declared dtype, null where it raised); ``raised`` by
    row: what was raised, or None.
    """

    columns: Mapping[str, pa.Array]
    raised: Sequence[str | None]


@dataclass(frozen=True)
class Compared:
    """Rows that both engines were given. ``labels``: "" of a row of the data, else the edge that it stands for.

    ``common``: of an edge, whether real data may well hold it.
    """

    inputs: pa.Table
    labels: Sequence[str]
    common: Sequence[bool]
    offline: Outcome
    online: Outcome


@dataclass(frozen=True)
class TransformRun:
    """One on-demand view on both engines. ``unsteady``: outputs that came otherwise when asked for again."""

    definition: OnDemandDef
    rows: Compared
    unsteady: frozenset[str] = field(default=frozenset())


def check_transform(
    runs: Sequence[TransformRun], policy: ServicePolicy, not_compared: Mapping[str, str] | None = None
) -> CheckResult:
    """A finding ``transform_divergence`` an output that differs, or that is raised on by one engine alone.

    Its severity is "critical" where rows of the data differ, "warning" where only edges do that data may well hold
    (nulls, zeros, empty texts and lists) or an output is not the same when asked for again, else "info". Population:
    rows of the data and edges, of all views. ``not_compared``: views and why.
    """
    started = time.perf_counter()
    judged = (_judged(run, feature, policy) for run in runs for feature in run.definition.features)
    total = sum(run.rows.inputs.num_rows for run in runs)
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=tuple(finding for finding in judged if finding is not None),
        population=total,
        compared=total,
        seconds=time.perf_counter() - started,
        details={
            "views": {run.definition.output_prefix: _details(run) for run in runs},
            "not_checked": dict(not_compared or {}),
        },
    )


def _details(run: TransformRun) -> dict[str, Any]:
    real = sum(not label for label in run.rows.labels)
    return {"mode": run.definition.mode, "rows": real, "edges": len(run.rows.labels) - real}


def _judged(run: TransformRun, feature: FieldDef, policy: ServicePolicy) -> Finding | None:
    differ = _differ(run.rows, feature, policy.tolerance_for(run.definition.output_prefix, feature))
    unsteady = feature.name in run.unsteady
    if not differ.any() and not unsteady:
        return None
    real = np.array([not label for label in run.rows.labels], dtype=bool)
    common = np.array(run.rows.common, dtype=bool)
    edges = [label for label, bad in zip(run.rows.labels, differ, strict=True) if bad and label]
    severity = "info"
    if unsteady or (differ & common & ~real).any():
        severity = "warning"
    if not unsteady and (differ & real).any():
        severity = "critical"
    among = real if (differ & real).any() or not edges else ~real
    count, compared = int((differ & among).sum()), int(among.sum())
    evidence = {
        "severity": severity,
        "inputs": "equal",
        "mode": run.definition.mode,
        "rows": int(real.sum()),
        "rows_differ": int((differ & real).sum()),
        "edges": len(run.rows.labels) - int(real.sum()),
        "edges_differ": edges,
        "not_deterministic": unsteady,
        "raises": _raises(run.rows, differ),
    }
    return _finding(run.definition, feature, (count, compared), evidence, _samples(run.rows, feature, differ, real))


def _differ(rows: Compared, feature: FieldDef, tolerance: Tolerance) -> Mask:
    offline, online = rows.offline.columns[feature.name], rows.online.columns[feature.name]
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("pairs", pa.table({"n": np.arange(len(offline)), "t": offline, "s": online}))
        sql = f"SELECT NOT {equal_sql(feature.dtype, 't', 's', tolerance)} AS d FROM pairs ORDER BY n"
        unequal = con.execute(sql).to_arrow_table().column("d").combine_chunks().to_numpy(zero_copy_only=False)
    fails = [np.array([text is not None for text in side.raised], dtype=bool) for side in (rows.offline, rows.online)]
    result: Mask = ((fails[0] != fails[1]) | unequal.astype(bool)) & ~(fails[0] & fails[1])
    return result


def _raises(rows: Compared, differ: Mask) -> dict[str, str]:
    """What an engine raised where the other answered, by engine."""
    found = {}
    for name, mine in (("offline", rows.offline), ("online", rows.online)):
        texts = [text for text, bad in zip(mine.raised, differ, strict=True) if bad and text]
        if texts:
            found[name] = texts[0]
    return found


def _samples(rows: Compared, feature: FieldDef, differ: Mask, real: Mask) -> tuple[Mapping[str, Any], ...]:
    places = [*np.flatnonzero(differ & real), *np.flatnonzero(differ & ~real)][:SAMPLES]
    samples = []
    for at in map(int, places):
        told = {}
        for name, side in (("offline", rows.offline), ("online", rows.online)):
            value = plain(side.columns[feature.name][at].as_py())
            told[name] = f"(raises {side.raised[at]})" if side.raised[at] else value
        inputs = {name: plain(rows.inputs.column(name)[at].as_py()) for name in rows.inputs.column_names}
        samples.append(
            {
                "entity": inputs,
                "feature": feature.name,
                **told,
                "offline_event_timestamp": None,
                "online_event_timestamp": None,
                "when": rows.labels[at],
            }
        )
    return tuple(samples)


def _finding(
    definition: OnDemandDef, feature: FieldDef, counted: tuple[int, int], evidence: Mapping[str, Any],
    samples: tuple[Mapping[str, Any], ...],
) -> Finding:  # fmt: skip
    count, compared = counted
    low, high = wilson_interval(count, compared)
    info = CATALOGUE[Cause.TRANSFORM_DIVERGENCE]
    view = definition.output_prefix
    edges = evidence["edges_differ"]
    what = "rows" if evidence["rows_differ"] or not edges else "edge cases"
    when = f" (when {'; '.join(edges[:_SHOWN])}{', ...' if len(edges) > _SHOWN else ''})" if edges else ""
    unsteady = "; asked again, it answers otherwise (is it random, or does it read the clock?)"
    return Finding(
        check=CHECK,
        cause=Cause.TRANSFORM_DIVERGENCE,
        view=view,
        feature=feature.name,
        count=count,
        compared=compared,
        ci_low=low,
        ci_high=high,
        message=f"{view}.{feature.name}: {count:,} of {compared:,} {what} {info.says}{when}"
        f"{unsteady if evidence['not_deterministic'] else ''}",
        evidence=evidence,
        samples=samples,
        advice=info.advice,
    )
