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
    row: what was raised, or None. ``left_out``: by row, was there no time for it? (Empty: none.)
    """

    columns: Mapping[str, pa.Array]
    raised: Sequence[str | None]
    left_out: Sequence[bool] = ()


@dataclass(frozen=True)
class Compared:
    """Rows that both engines were given. ``labels``: "" of a row of the data, else the edge that it stands for.

    ``common``: of an edge, whether real data may well hold it. ``conditions``: what makes it an edge, one an input.
    """

    inputs: pa.Table
    labels: Sequence[str]
    common: Sequence[bool]
    conditions: Sequence[frozenset[str]]
    offline: Outcome
    online: Outcome


@dataclass(frozen=True)
class TransformRun:
    """One on-demand view on both engines. ``unsteady``: outputs that came otherwise when asked for again; ``details``:
    what else the report tells of the view.
    """

    definition: OnDemandDef
    rows: Compared
    unsteady: frozenset[str] = field(default=frozenset())
    details: Mapping[str, Any] = field(default_factory=dict)


def check_transform(
    runs: Sequence[TransformRun],
    policy: ServicePolicy,
    not_compared: Mapping[str, str] | None = None,
    undecided: Mapping[str, str] | None = None,
) -> CheckResult:
    """A finding ``transform_divergence`` an output that differs, or that is raised on by one engine alone.

    Its severity is "critical" where rows of the data differ, "warning" where only edges do that data may well hold
    (nulls, zeros, empty texts and lists) or an output is not the same when asked for again, else "info". Population:
    rows of the data and edges, of all views. ``not_compared``: views and why. ``undecided``: views
    that could not be judged on the data, and why; they make the result inconclusive.
    """
    started = time.perf_counter()
    judged = (_judged(run, feature, policy) for run in runs for feature in run.definition.features)
    total = sum(run.rows.inputs.num_rows for run in runs)
    return CheckResult(
        check=CHECK,
        status="inconclusive" if undecided else "ok",
        reason="; ".join(f"on-demand view {view!r}: {why}" for view, why in (undecided or {}).items()),
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
    return {"mode": run.definition.mode, "rows": real, "edges": len(run.rows.labels) - real, **run.details}


def _judged(run: TransformRun, feature: FieldDef, policy: ServicePolicy) -> Finding | None:
    tolerance = policy.tolerance_for(run.definition.output_prefix, feature)
    apart = differ(run.rows.offline, run.rows.online, feature, tolerance)
    unsteady = feature.name in run.unsteady
    if not apart.any() and not unsteady:
        return None
    real = np.array([not label for label in run.rows.labels], dtype=bool)
    common = np.array(run.rows.common, dtype=bool)
    edges = _smallest(run.rows, apart)
    severity = "info"
    if unsteady or (apart & common & ~real).any():
        severity = "warning"
    if not unsteady and (apart & real).any():
        severity = "critical"
    among = real if (apart & real).any() or not edges else ~real
    count, compared = int((apart & among).sum()), int(among.sum())
    evidence = {
        "severity": severity,
        "inputs": "equal",
        "mode": run.definition.mode,
        "rows": int(real.sum()),
        "rows_differ": int((apart & real).sum()),
        "edges": len(run.rows.labels) - int(real.sum()),
        "edges_differ": edges,
        "not_deterministic": unsteady,
        "raises": _raises(run.rows, apart),
    }
    return _finding(run.definition, feature, (count, compared), evidence, _samples(run.rows, feature, apart, real))


def _smallest(rows: Compared, apart: Mask) -> list[str]:
    """The edges that differ, but for those of which a part differs alone."""
    bad = [(rows.conditions[at], rows.labels[at]) for at in map(int, np.flatnonzero(apart)) if rows.labels[at]]
    sets = {conditions for conditions, _ in bad}
    return [label for conditions, label in bad if not any(other < conditions for other in sets)]


def differ(offline: Outcome, online: Outcome, feature: FieldDef, tolerance: Tolerance) -> Mask:
    """Rows in which an output differs, or on which one side alone raised."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        values = {"t": offline.columns[feature.name], "s": online.columns[feature.name]}
        con.register("pairs", pa.table({"n": np.arange(len(offline.raised)), **values}))
        sql = f"SELECT NOT {equal_sql(feature.dtype, 't', 's', tolerance)} AS d FROM pairs ORDER BY n"
        unequal = con.execute(sql).to_arrow_table().column("d").combine_chunks().to_numpy(zero_copy_only=False)
    fails = [np.array([text is not None for text in side.raised], dtype=bool) for side in (offline, online)]
    result: Mask = ((fails[0] != fails[1]) | unequal.astype(bool)) & ~(fails[0] & fails[1])
    return result


def _raises(rows: Compared, apart: Mask) -> dict[str, str]:
    """What an engine raised where the other answered, by engine."""
    found = {}
    for name, mine in (("offline", rows.offline), ("online", rows.online)):
        texts = [text for text, bad in zip(mine.raised, apart, strict=True) if bad and text]
        if texts:
            found[name] = texts[0]
    return found


def _samples(rows: Compared, feature: FieldDef, apart: Mask, real: Mask) -> tuple[Mapping[str, Any], ...]:
    places = [*np.flatnonzero(apart & real), *np.flatnonzero(apart & ~real)][:SAMPLES]
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
