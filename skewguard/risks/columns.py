"""What the columns of a view's source do to it: missing, of another type than declared, times, nulls, ties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skewguard.contract import iso
from skewguard.definitions import FieldDef
from skewguard.errors import nearest
from skewguard.findings import Cause
from skewguard.risks.conversion import FLOATS, INTS, MOMENTS, Conversion, feast_conversion, kind_of
from skewguard.risks.risk import Risk, Severity, Stores
from skewguard.risks.source import SourceFacts

_DECLARE = "Declare the dtype that the file has, or write the file in the declared one; then apply and materialize."


def column_risks(facts: SourceFacts, features: Sequence[FieldDef], stores: Stores) -> list[Risk]:
    """Every risk of one view's columns and rows; nothing where its source was not read."""
    if facts.not_read:
        return []
    fields = [*facts.view.join_keys, *features]
    return [
        *_missing(facts),
        *_values(facts, fields),
        *_types(facts, fields, stores),
        *_times(facts, stores),
        *_rows(facts),
        *_ties(facts, stores),
    ]


def _defect(facts: SourceFacts, severity: Severity, rule: str, message: str, **rest: Any) -> Risk:
    return Risk(Cause.SOURCE_DEFECT, severity, rule, f"{facts.view.name}: {message}", facts.view.name, **rest)


def _of_rows(facts: SourceFacts, count: int) -> dict[str, int]:
    return {"count": count, "compared": max(facts.counts.get("rows", 0), 1)}


def _missing(facts: SourceFacts) -> Iterator[Risk]:
    source = facts.view.source
    for name in facts.missing:
        column = source.column(name)
        mapped = f" (mapped to {name!r})" if column != name else ""
        near = nearest(column, facts.columns)
        hint = f"; did you mean {near!r}?" if near else ""
        yield _defect(
            facts,
            "critical",
            "missing_column",
            f"no column {column!r}{mapped} in {source.path}{hint}",
            feature=name if any(f.name == name for f in facts.view.features) else None,
            evidence={"column": column, "columns": list(facts.columns)},
            advice="Correct the name in the definitions, or write the column.",
        )


def _values(facts: SourceFacts, fields: Sequence[FieldDef]) -> Iterator[Risk]:
    """What cannot be read as declared, by us or by anyone; and what loses its fraction."""
    for item in fields:
        kind = facts.duck_type(item.name)
        evidence = {"file": kind, "declared": item.dtype}
        if item.name in facts.unreadable:
            reason = facts.unreadable[item.name]
            message = f"{item.name} is {kind} in the file, which cannot be read as {item.dtype}"
            yield _defect(facts, "critical", "unreadable", message, feature=item.name, advice=_DECLARE,
                          evidence={**evidence, "reason": reason})  # fmt: skip
        if item.name in facts.refused:
            count = facts.refused[item.name]
            message = f"{item.name}: {count:,} values of {kind} cannot be read as {item.dtype}, nor can the view"
            yield _defect(facts, "critical", "unreadable", message, feature=item.name, advice=_DECLARE,
                          evidence=evidence, **_of_rows(facts, count))  # fmt: skip
        if item.name in facts.fractions:
            count = facts.fractions[item.name]
            message = f"{item.name}: {count:,} values have a fraction, which {item.dtype} cuts off"
            yield _defect(facts, "warning", "fractions_cut", message, feature=item.name, advice=_DECLARE,
                          evidence=evidence, **_of_rows(facts, count))  # fmt: skip
        if item.name in facts.gaps:
            count = facts.gaps[item.name]
            message = f"{item.name}: {count:,} lists of whole numbers have a null inside; Feast's materialization fails"
            yield _defect(facts, "warning", "null_in_list", message, feature=item.name, evidence=evidence,
                          advice="Leave the nulls out of the lists, or materialize with skewguard, which writes 0.",
                          **_of_rows(facts, count))  # fmt: skip


_FEAST: Mapping[Conversion, tuple[str, str]] = {
    Conversion.RAISES: ("feast_raises", "Feast's materialization fails on"),
    Conversion.GARBAGE: ("feast_garbage", "Feast writes other moments online for"),
    Conversion.CHANGED: ("dtype", "Feast gives another type offline than online for"),
    Conversion.PRECISION: ("float32", "Feast gives doubles offline and float32 online for"),
}


def _types(facts: SourceFacts, fields: Sequence[FieldDef], stores: Stores) -> Iterator[Risk]:
    """Columns of another type than declared, by what Feast makes of them; the guard's own stores cast them."""
    found: dict[Conversion, dict[str, str]] = {}
    for item in fields:
        kind = facts.duck_type(item.name)
        if kind is None or item.name in facts.unreadable or item.name in facts.refused:
            continue
        conversion = feast_conversion(kind, item.dtype)
        if conversion in _FEAST:
            found.setdefault(conversion, {})[item.name] = f"{kind} as {item.dtype}"
    for conversion, columns in found.items():
        rule, says = _FEAST[conversion]
        loud = conversion in (Conversion.RAISES, Conversion.GARBAGE)
        whole = all(_whole(facts, name) for name in columns)
        severity: Severity = "warning" if loud or not (stores.ours or whole) else "info"
        shown = ", ".join(f"{name} ({text})" for name, text in list(columns.items())[:5])
        more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
        yield Risk(
            Cause.DEFINITION_RISK,
            severity,
            rule,
            f"{facts.view.name}: {says} {shown}{more}",
            facts.view.name,
            next(iter(columns)) if len(columns) == 1 else None,
            {"columns": columns},
            advice=_DECLARE,
        )


def _whole(facts: SourceFacts, name: str) -> bool:
    """Is a float column declared as whole numbers, and all of them are (as pandas writes integers with nulls)?"""
    item = next((f for f in (*facts.view.join_keys, *facts.view.features) if f.name == name), None)
    return (
        item is not None
        and item.dtype in ("INT32", "INT64")
        and kind_of(facts.duck_type(name) or "") in FLOATS
        and name not in facts.fractions
    )


def _times(facts: SourceFacts, stores: Stores) -> Iterator[Risk]:
    """The unit, zone and type of the timestamp columns."""
    source = facts.view.source
    for name in dict.fromkeys(filter(None, (source.timestamp_field, source.created_timestamp_column))):
        duck_type = facts.duck_type(name)
        if duck_type is None:
            continue
        kind, arrow = kind_of(duck_type), facts.arrow_type(name)
        evidence = {"column": name, "file": arrow or duck_type}
        bad = facts.counts.get("bad_times" if name == source.timestamp_field else "created_bad", 0)
        if bad:
            message = f"{name}: {bad:,} values are no timestamps, so the view cannot be read"
            yield _defect(facts, "critical", "bad_timestamp", message, evidence=evidence, **_of_rows(facts, bad),
                          advice="Write the column as timestamps with a zone.")  # fmt: skip
        elif kind not in MOMENTS:
            taken = "seconds since 1970" if kind in INTS | FLOATS else "text, in UTC where it names no zone"
            message = f"{name} is {duck_type} in the file, read as {taken}"
            yield _defect(facts, "warning", "timestamp_type", message, evidence=evidence,
                          advice="Write the column as timestamps with a zone.")  # fmt: skip
        elif kind != "TIMESTAMP WITH TIME ZONE":
            message = f"{name} has no time zone ({arrow or duck_type}), and is read as UTC"
            yield _defect(facts, "info", "naive_timestamp", message, evidence=evidence,
                          advice="Write the column with a zone, so that local time cannot slip in.")  # fmt: skip
        if arrow.startswith("timestamp[ns, tz=") and stores.feast_duckdb:
            fails = duck_type.upper() == "TIMESTAMP_NS WITH TIME ZONE" or "TIMESTAMPTZ_NS" in duck_type.upper()
            says = "fails" if fails else "fails from DuckDB 2.0 on"
            message = f"{name} has nanoseconds with a zone (as pandas writes), on which Feast's materialization {says}"
            yield _defect(facts, "warning" if fails else "info", "nanoseconds", message, evidence=evidence,
                          advice='Write with coerce_timestamps="us".')  # fmt: skip


def _rows(facts: SourceFacts) -> Iterator[Risk]:
    counts, source = facts.counts, facts.view.source
    for name, count in facts.null_keys.items():
        message = (
            f"{count:,} rows without the join key {name}; Feast's materialization fails on them, ours leaves them out"
        )
        yield _defect(facts, "warning", "null_key", message, evidence={"join_key": name}, **_of_rows(facts, count),
                      advice="Drop the rows, or find out why they have no key.")  # fmt: skip
    if counts.get("null_times"):
        count = counts["null_times"]
        message = f"{count:,} rows without {source.timestamp_field}, which nothing ever reads"
        yield _defect(facts, "warning", "null_timestamp", message, **_of_rows(facts, count),
                      advice="Drop the rows, or find out why they have no time.")  # fmt: skip
    if counts.get("future"):
        count = counts["future"]
        message = f"{count:,} rows lie in the future, up to {facts.newest:%Y-%m-%dT%H:%M:%SZ}"
        evidence = {"newest": None if facts.newest is None else iso(facts.newest)}
        yield _defect(facts, "warning", "future_rows", message, evidence=evidence, **_of_rows(facts, count),
                      advice="Is local time written as UTC? Planned values are right, and used from their time on.",
                      )  # fmt: skip
    if counts.get("created_null"):
        count = counts["created_null"]
        message = f"{count:,} rows without {source.created_timestamp_column}: they lose ties, and are never known"
        yield _defect(facts, "info", "null_created", message, **_of_rows(facts, count),
                      advice="Write the time at which a row is made.")  # fmt: skip
    if counts.get("created_first"):
        count = counts["created_first"]
        message = f"{count:,} rows were created before their event"
        yield _defect(facts, "info", "created_first", message, **_of_rows(facts, count),
                      advice="Is local time written as UTC in one of the two columns?")  # fmt: skip


def _ties(facts: SourceFacts, stores: Stores) -> Iterator[Risk]:
    ties = facts.ties
    evidence = {
        "rows": ties.rows,
        "groups": ties.groups,
        "ambiguous": ties.ambiguous,
        "equal_values": ties.equal,
        "decided_by_created_timestamp": ties.resolved,
    }
    if ties.ambiguous:
        others = "" if stores.ours else "; Feast takes any of them, and not the same offline and online"
        message = (
            f"{ties.ambiguous:,} times one entity has rows of one event timestamp with different values, and no "
            f"created timestamp decides{others}"
        )
        yield _defect(facts, "warning", "ambiguous_rows", message, evidence=evidence, samples=ties.samples,
                      **_of_rows(facts, ties.ambiguous),
                      advice="Keep one row of each entity and event timestamp, or write a created timestamp.",
                      )  # fmt: skip
    elif ties.equal:
        message = f"{ties.equal:,} times one entity has the same row of one event timestamp more than once"
        yield _defect(facts, "info", "repeated_rows", message, evidence=evidence, samples=ties.samples,
                      **_of_rows(facts, ties.equal), advice="Find the job that writes rows twice.")  # fmt: skip
