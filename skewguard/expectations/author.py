"""A first suite for a feature service, proposed from a training table. A starting point for people, not a verdict.

Everything that the table shows is written out with the reason beside it; arguments are explicit, because GX does not
store what is left at its default, and a default may change.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.errors import BadInputError
from skewguard.expectations.column_proposals import column_entries, expectation
from skewguard.expectations.suites import parse_suite
from skewguard.offline.entity_rows import moments

_CONDITION = ("row_condition", "condition_parser")


def propose_suite(
    table: pa.Table,
    service: str,
    *,
    keys: Sequence[str] = (),
    as_of: str | None = None,
    whole: bool = True,
) -> dict[str, Any]:
    """A suite as a JSON document, from the features of a training table.

    ``keys`` are the columns with join keys and ``as_of`` the one with as-of times: of these it says that they are
    filled, and that together they name each row once. Every other column is a feature: see ``column_entries``; a
    timestamp that never lies after its as-of time is held to that. ``whole``: the table is a training set, so that
    its number of rows tells something; else it is a sample. Raises BadInputError for no rows.
    """
    if table.num_rows == 0:
        raise BadInputError("table", "no rows", "a training table with at least one row")
    entries = [*_rows(table, whole), *_names_rows(table, keys, as_of, whole)]
    for name in table.column_names:
        if name not in (*keys, as_of):
            entries += column_entries(name, table.column(name))
            entries += _not_after(table, name, as_of)
    origin = f"{table.num_rows:,} {'training' if whole else 'sampled'} rows"
    notes = f"Proposed by skewguard from {origin}; edit it, it is yours."
    return explicit(suite_document(service, entries, notes))


def suite_document(name: str, entries: Sequence[Mapping[str, Any]], notes: str | None = None) -> dict[str, Any]:
    """A suite in GX's own format."""
    version = importlib.metadata.version("great-expectations")
    document = {
        "name": name,
        "id": None,
        "expectations": list(entries),
        "meta": {"great_expectations_version": version},
    }
    return document if notes is None else {**document, "notes": notes}


def explicit(document: Mapping[str, Any], origin: str = "suite") -> dict[str, Any]:
    """The same suite with every argument written out: what was given stays as it stands, GX's defaults come beside it.

    Its digest is the same. A row condition that is not there stays away. Raises SuiteError as ``parse_suite`` does.
    """
    suite = parse_suite(document, origin)
    entries = []
    for entry, rule in zip(document["expectations"], suite.rules, strict=True):
        given = entry.get("kwargs", {})
        added = {
            key: value
            for key, value in rule.resolved.items()
            if key not in given and not (key in _CONDITION and value is None)
        }
        entries.append({**entry, "kwargs": {**given, **added}, "severity": rule.severity})
    return {**document, "expectations": entries}


def _rows(table: pa.Table, whole: bool) -> Iterator[dict[str, Any]]:
    if whole:
        least, notes = max(1, table.num_rows // 2), f"{table.num_rows:,} rows were seen; half as many is too few."
    else:
        least, notes = 1, "A sample was profiled, which does not tell how many rows a training set has: raise it."
    kind = "expect_table_row_count_to_be_between"
    yield expectation(kind, "warning", notes, min_value=least, max_value=None)


def _names_rows(table: pa.Table, keys: Sequence[str], as_of: str | None, whole: bool) -> Iterator[dict[str, Any]]:
    """Keys are filled, and with the as-of time name each row once, where that is so."""
    for name in (*keys, *(() if as_of is None else (as_of,))):
        if table.column(name).null_count == 0:
            notes = "A row without it gets no features."
            yield expectation("expect_column_values_to_not_be_null", "critical", notes, column=name, mostly=1)
    if as_of is None or not keys:
        return
    names = [*keys, as_of]
    if table.group_by(names).aggregate([]).num_rows == table.num_rows:
        notes = "No entity twice at one as-of time: such rows count double in training."
        notes += "" if whole else " The profiled rows were made so; drop it where yours may repeat."
        yield expectation(
            "expect_compound_columns_to_be_unique",
            "critical" if whole else "warning",
            notes,
            column_list=names,
            ignore_row_if="any_value_is_missing",
        )


def _not_after(table: pa.Table, name: str, as_of: str | None) -> Iterator[dict[str, Any]]:
    column = table.column(name)
    if as_of is None or not pa.types.is_timestamp(column.type) or column.null_count == table.num_rows:
        return
    later = pc.greater(moments(column, name), moments(table.column(as_of), as_of))
    if pc.any(later).as_py():
        return
    yield expectation(
        "expect_column_pair_values_a_to_be_greater_than_b",
        "critical",
        "Never after the as-of time of its row: a later one is knowledge of the future.",
        column_A=as_of,
        column_B=name,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        mostly=1,
    )
