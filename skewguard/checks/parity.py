"""Parity: what the online store holds now, against what it should hold and against offline truth, value by value."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.cells import Explained
from skewguard.compare.comparison import Comparison
from skewguard.compare.explained import explained_cells
from skewguard.compare.sides import ViewSides
from skewguard.config import ServicePolicy
from skewguard.contract import iso
from skewguard.findings import Cause, CheckResult, FeatureStats, Finding
from skewguard.plain import plain
from skewguard.sql import EVENT_TS
from skewguard.stats import wilson_interval

CHECK = "parity"
SAMPLES = 10


def check_parity(
    sides: Sequence[ViewSides], policy: ServicePolicy, skipped: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
) -> CheckResult:  # fmt: skip
    """Compare every view; the result's population and compared are rows (entities of a view).

    ``skipped`` names the views that could not be compared, with the reason; they make the result inconclusive.
    ``limits``: what cannot be told of this online store, in sentences; they are kept under ``not_checked``.
    """
    started = time.perf_counter()
    findings: list[Finding] = []
    features: list[FeatureStats] = []
    views: dict[str, Any] = {}
    rows = compared = 0
    for side in sides:
        found, stats, summary = _check_view(side, policy)
        rows += summary["entities"]
        compared += summary["entities"] - summary["after_the_as_of_time"]
        findings += found
        features += stats
        views[side.view.name] = summary
    reason = "; ".join(f"{view}: {why}" for view, why in (skipped or {}).items())
    return CheckResult(
        check=CHECK,
        status="inconclusive" if reason else "ok",
        findings=tuple(findings),
        population=rows,
        compared=compared,
        seconds=time.perf_counter() - started,
        reason=reason,
        features=tuple(features),
        details={"views": views, **({"not_checked": list(limits)} if limits else {})},
    )


def _check_view(sides: ViewSides, policy: ServicePolicy) -> tuple[list[Finding], list[FeatureStats], dict[str, Any]]:
    comparison = Comparison(sides, lambda feature: policy.tolerance_for(sides.view.name, feature), policy.memory_limit)
    try:
        findings, by_feature = compared_findings(comparison)
        return findings, _feature_stats(comparison, by_feature), _summary(comparison)
    finally:
        comparison.close()


def compared_findings(comparison: Comparison) -> tuple[list[Finding], dict[str, dict[str, int]]]:
    """The findings of a compared view, and the differing cells by feature and cause."""
    findings = _row_findings(comparison)
    by_feature: dict[str, dict[str, int]] = {f.name: {} for f in comparison.sides.features}
    for finding in findings:
        for name, count in finding.evidence.get("cells", {}).items():
            by_feature[name][finding.cause.value] = by_feature[name].get(finding.cause.value, 0) + count
    findings += _cell_findings(comparison, by_feature)
    findings += _orphan_findings(comparison)
    return findings, by_feature


def _row_findings(comparison: Comparison) -> list[Finding]:
    sides = comparison.sides
    findings = []
    for name, count in comparison.row_causes():
        where = f"cause = '{name}'"
        lag = "quantile_disc(epoch(t_ts) - epoch(o_ts), 0.5)"
        evidence = {
            "watermark": iso(sides.watermark),
            "ttl_seconds": None if sides.view.ttl is None else sides.view.ttl.total_seconds(),
            "cells": comparison.cell_counts(where),
            "row_states": dict(
                comparison.con.execute(
                    f"SELECT state, count(*) FROM diff WHERE {where} GROUP BY 1 ORDER BY 1"
                ).fetchall()
            ),
            "behind_offline_seconds_median": comparison.scalar(f"SELECT {lag} FROM diff WHERE {where}"),
        }
        ids = [
            r
            for (r,) in comparison.con.execute(
                f"SELECT row_id FROM diff WHERE {where} ORDER BY row_id LIMIT {SAMPLES}"
            ).fetchall()
        ]
        if name == Cause.TIMEZONE_SHIFT:
            evidence |= comparison.shift
        if name == Cause.ENTITY_KEY_MISMATCH:
            evidence |= _twin_evidence(comparison, where)
        findings.append(make_finding(Cause(name), comparison, None, count, evidence, _samples(comparison, ids, None)))
    return findings


def _twin_evidence(comparison: Comparison, where: str) -> dict[str, Any]:
    """In what the stored keys differ from the entities' own (with rows), and some of them as text."""
    differences = comparison.con.execute(
        f"SELECT twin_difference, count(*) FROM diff WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    keys = "".join(f"k_{i}, " for i in range(len(comparison.keys)))
    twins = comparison.con.execute(
        f"SELECT {keys}twin_stored FROM diff WHERE {where} ORDER BY row_id LIMIT {SAMPLES}"
    ).fetchall()
    examples = [
        {"entity": dict(zip(comparison.keys, map(plain, values), strict=True)), "stored_as": stored}
        for *values, stored in twins
    ]
    return {"differences": dict(differences), "twins": examples}


def _cell_findings(comparison: Comparison, by_feature: dict[str, dict[str, int]]) -> list[Finding]:
    sides = comparison.sides
    findings = []
    for index, feature in enumerate(sides.features):
        ids, explained = explained_cells(comparison, index)
        for item in _merged(explained):
            count, cause = int(item.mask.sum()), item.cause
            by_feature[feature.name][cause.value] = by_feature[feature.name].get(cause.value, 0) + count
            samples = _samples(comparison, ids[item.mask][:SAMPLES].tolist(), index)
            findings.append(make_finding(cause, comparison, feature.name, count, item.evidence, samples))
    return findings


def _merged(explained: Sequence[Explained]) -> list[Explained]:
    """One entry a cause; where a second relation has the same cause, its evidence is kept under ``also``."""
    merged: dict[Cause, Explained] = {}
    for item in explained:
        before = merged.get(item.cause)
        if before is None:
            merged[item.cause] = replace(item, evidence=dict(item.evidence))
            continue
        have, new = before.evidence, item.evidence
        if have.keys() & new.keys():
            new = {"also": [*have.get("also", ()), new]}
        merged[item.cause] = Explained(item.cause, before.mask | item.mask, {**have, **new})
    return list(merged.values())


def _orphan_findings(comparison: Comparison) -> list[Finding]:
    count = comparison.orphans.num_rows
    if not count:
        return []
    samples = tuple(
        {
            "entity": {k: plain(row[k]) for k in comparison.keys},
            "feature": None,
            "offline": None,
            "online": "(row present)",
            "offline_event_timestamp": None,
            "online_event_timestamp": plain(row.get(EVENT_TS)),
        }
        for row in comparison.orphans.slice(0, SAMPLES).to_pylist()
    )
    return [make_finding(Cause.ORPHAN_ONLINE, comparison, None, count, {"offline_rows": 0}, samples)]


def make_finding(
    cause: Cause,
    comparison: Comparison,
    feature: str | None,
    count: int,
    evidence: Mapping[str, Any],
    samples: tuple[Mapping[str, Any], ...],
) -> Finding:
    """A finding of this check, worded from the catalogue of causes."""
    view = comparison.sides.view.name
    compared = max(comparison.totals.rows, count)
    low, high = wilson_interval(count, compared)
    info = CATALOGUE[cause]
    where = view if feature is None else f"{view}.{feature}"
    detail = _detail(evidence)
    return Finding(
        check=CHECK,
        cause=cause,
        view=view,
        feature=feature,
        count=count,
        compared=compared,
        ci_low=low,
        ci_high=high,
        message=f"{where}: {count:,} of {compared:,} rows {info.says}{detail}",
        evidence=evidence,
        samples=samples,
        repairable=info.repairable,
        advice=info.advice,
    )


def _detail(evidence: Mapping[str, Any]) -> str:
    if "k" in evidence:
        return f" (online = {evidence['k']:g} x offline)"
    if "c" in evidence:
        return f" (online = offline {evidence['c']:+g})"
    if "minutes" in evidence:
        return f" ({evidence['minutes']:+d} minutes)"
    if "cast" in evidence:
        return f" ({evidence['cast']})"
    if "fill" in evidence:
        if evidence["fill"] is None:
            return " (all null online)"
        return f" (fill {evidence['fill']!r} {evidence['filled_side']})"
    if "column" in evidence:
        return f" ({'swapped with' if evidence['and_back'] >= 0.5 else 'of'} {evidence['column']})"
    if "mapping" in evidence:
        return f" ({_mapping(evidence['mapping'], evidence['categories'])})"
    if "form" in evidence:
        return f" ({evidence['form']})"
    if "differences" in evidence:
        return f" ({'; '.join(evidence['differences'])})"
    return ""


def _mapping(mapping: Mapping[str, str], categories: int) -> str:
    """The first entries of a renaming."""
    shown = ", ".join(f"{before!r} as {after!r}" for before, after in list(mapping.items())[:3])
    return shown + (f", and {categories - 3} more" if categories > 3 else "")


def _samples(comparison: Comparison, row_ids: Sequence[int], index: int | None) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {
            "entity": {k: plain(row[f"k_{i}"]) for i, k in enumerate(comparison.keys)},
            "feature": row["feature"],
            "offline": row["offline"],
            "online": row["online"] if row["state"] == "present" else f"({row['state'].replace('_', ' ')})",
            "offline_event_timestamp": plain(row["offline_ts"]),
            "online_event_timestamp": plain(row["online_ts"]),
        }
        for row in comparison.samples(row_ids, index).to_pylist()
    )


def _feature_stats(comparison: Comparison, by_feature: Mapping[str, Mapping[str, int]]) -> list[FeatureStats]:
    sides = comparison.sides
    stats = []
    for feature, (offline, online) in zip(sides.features, comparison.totals.profiles, strict=True):
        stats.append(
            FeatureStats(
                view=sides.view.name,
                feature=feature.name,
                dtype=feature.dtype,
                compared=comparison.totals.rows,
                differing=sum(by_feature[feature.name].values()),
                offline_nulls=offline.nulls + offline.nans,
                online_nulls=online.nulls + online.nans,
                labels=offline.bins.labels(),
                offline=offline.counts,
                online=online.counts,
                causes=dict(by_feature[feature.name]),
            )
        )
    return stats


def _summary(comparison: Comparison) -> dict[str, Any]:
    sides = comparison.sides
    totals = comparison.totals
    return {
        "entities": totals.rows,
        "inside_ttl": totals.live,
        "row_states": dict(sorted(totals.states.items())),
        "differing_rows": comparison.scalar("SELECT count(*) FROM diff WHERE cause IS NOT NULL"),
        "after_the_as_of_time": comparison.scalar(
            "SELECT count(*) FROM diff WHERE state = 'present' AND cause IS NULL"
        ),
        "orphans": comparison.orphans.num_rows,
        "watermark": iso(sides.watermark),
    }
