"""A first suite for a feature service, proposed from a training table. A starting point for people, not a verdict.

Everything that the table shows is written out with the reason beside it; arguments are explicit, because GX does not
store what is left at its default, and a default may change.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.definitions import digest
from skewguard.errors import BadInputError, SuiteError
from skewguard.files import write_atomically

MAX_CATEGORIES = 30
HEAD_ROOM = 0.1
_PROPOSAL = "skewguard_proposal"


def propose_suite(table: pa.Table, service: str) -> dict[str, Any]:
    """A suite as a JSON document, from the feature columns of a training table.

    For each column: its type (critical), how often it is filled (at least the seen share less three standard errors
    and five points), and for numbers the range with a tenth of its span as head-room (warning, 99% of the rows), for
    strings of at most 30 values the set (critical, 99%). Columns that are nearly always null get no fill rule. Raises
    BadInputError for no rows.
    """
    if table.num_rows == 0:
        raise BadInputError("table", "no rows", "a training table with at least one row")
    expectations = [item for name in table.column_names for item in _column(name, table.column(name), table.num_rows)]
    document: dict[str, Any] = {
        "name": service,
        "id": None,
        "expectations": expectations,
        "meta": {"great_expectations_version": importlib.metadata.version("great-expectations")},
        "notes": f"Proposed by skewguard from {table.num_rows:,} training rows; edit it, it is yours.",
    }
    document["meta"][_PROPOSAL] = _fingerprint(document)
    return document


def save_suite(document: Mapping[str, Any], path: Path, *, overwrite: bool = False) -> None:
    """Write a proposed suite, whole or not at all.

    A file that somebody edited since it was proposed, or wrote by hand, is only replaced with ``overwrite``; an
    unedited proposal is replaced. Raises SuiteError otherwise.
    """
    if path.exists() and not overwrite and not _is_untouched(path):
        raise SuiteError(f"{path}: exists and was edited by hand; ask for overwriting, or write to another file.")
    write_atomically(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _is_untouched(path: Path) -> bool:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return False
    meta = document.get("meta") if isinstance(document, dict) else None
    return isinstance(meta, dict) and meta.get(_PROPOSAL) == _fingerprint(document)


def _fingerprint(document: Mapping[str, Any]) -> str:
    meta = {key: value for key, value in document["meta"].items() if key != _PROPOSAL}
    return digest({**document, "meta": meta})


def _expectation(kind: str, severity: str, notes: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {}, "severity": severity, "notes": notes}


def _column(name: str, column: pa.ChunkedArray, rows: int) -> Iterator[dict[str, Any]]:
    kind = column.type
    type_name = _type_name(kind)
    if type_name is not None:
        yield _expectation(
            "expect_column_values_to_be_of_type", "critical", f"Declared type: {kind}.", column=name, type_=type_name
        )
    values = column.drop_null()
    if pa.types.is_floating(kind):
        values = values.filter(pc.invert(pc.is_nan(values)))
    yield from _filled(name, len(values) / rows, rows)
    if len(values) == 0:
        return
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        yield from _range(name, values)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield from _set(name, values)


def _type_name(kind: pa.DataType) -> str | None:
    """What GX's pandas engine calls a type; None where it has no name that holds."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(kind.to_pandas_dtype().__name__)
    names = (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_string, "str"),
        (pa.types.is_large_string, "str"),
        (pa.types.is_timestamp, "Timestamp"),
        (pa.types.is_list, "list"),
        (pa.types.is_large_list, "list"),
    )
    return next((name for test, name in names if test(kind)), None)


def _filled(name: str, share: float, rows: int) -> Iterator[dict[str, Any]]:
    error = 3 * math.sqrt(share * (1 - share) / rows)
    floor = 0.99 if share == 1 else math.floor((share - 0.05 - error) * 100) / 100
    if floor <= 0:
        return
    notes = f"Filled in {share:.2%} of the training rows."
    severity = "critical" if share == 1 else "warning"
    yield _expectation("expect_column_values_to_not_be_null", severity, notes, column=name, mostly=floor)


def _range(name: str, values: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
    finite = values.filter(pc.is_finite(values.cast(pa.float64(), safe=False)))
    if len(finite) == 0:
        return
    span = pc.min_max(finite).as_py()
    low, high = float(span["min"]), float(span["max"])
    room = HEAD_ROOM * (high - low) or HEAD_ROOM * abs(high) or 1.0
    below = low - room
    if low >= 0:
        below = max(below, 0.0)  # what was never negative has no reason to become so
    yield _expectation(
        "expect_column_values_to_be_between",
        "warning",
        f"Seen from {low:g} to {high:g}; a tenth of the span is head-room.",
        column=name,
        min_value=_rounded(below, math.floor),
        max_value=_rounded(high + room, math.ceil),
        strict_min=False,
        strict_max=False,
        mostly=0.99,
    )


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """Three significant digits, away from the data."""
    if value == 0:
        return 0.0
    digits = math.floor(math.log10(abs(value))) - 2
    rounded = float(f"{towards(value / 10.0**digits)}e{digits}") if digits > -300 else value
    return rounded if math.isfinite(rounded) else value


def _set(name: str, values: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
    distinct = pc.unique(values)
    if len(distinct) > MAX_CATEGORIES:
        return
    notes = f"The {len(distinct)} values seen; a new one is not known to the model."
    value_set = sorted(distinct.to_pylist())
    kind = "expect_column_values_to_be_in_set"
    yield _expectation(kind, "critical", notes, column=name, value_set=value_set, mostly=0.99)
