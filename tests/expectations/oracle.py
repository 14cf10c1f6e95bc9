"""What GX's pandas engine makes of a suite on a table: the specification of every other way to run one.

The frames are skewguard's (``expectations/frames.py``), because the documented deviations from GX alone are theirs; how
GX is run is written out here a second time, so that a mistake in the engine's own way to it cannot hide.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from skewguard.expectations import great_expectations_import
from skewguard.expectations.frames import type_frame, value_frame
from skewguard.expectations.rules import TYPE_RULES
from skewguard.expectations.suites import Rule, Suite


@dataclass(frozen=True)
class Outcome:
    """What GX says of one rule.

    ``broke`` holds what the rule raised (``success`` is then False). ``rows`` and ``values``: row numbers and values of
    what is unexpected, in row order (pairs as tuples, several columns as dicts); ``judged`` counts the rows of which
    the unexpected ones are a share. The counts are None where no rows are counted, ``observed`` where they are.
    """

    success: bool
    broke: str | None
    elements: int | None = None
    judged: int | None = None
    unexpected: int | None = None
    rows: tuple[int, ...] | None = None
    values: tuple[Any, ...] | None = None
    observed: Any = None


def judge(table: pa.Table, suite: Suite, detail: str = "COMPLETE") -> dict[int, Outcome]:
    """What GX says of every rule of a suite, by position; ``detail`` is its result format."""
    outcomes: dict[int, Outcome] = {}
    # in the frame for types, nulls are filled: no row condition can be told there, and on objects there may be one
    about_types = [rule for rule in suite.rules if rule.type in TYPE_RULES and not _is_object(table, rule)]
    about_values = [rule for rule in suite.rules if rule not in about_types]
    for rules, make_frame in ((about_values, value_frame), (about_types, type_frame)):
        if rules:
            outcomes |= _judged(table, make_frame(table, table.column_names), rules, detail)
    return outcomes


def _is_object(table: pa.Table, rule: Rule) -> bool:
    kind = table.schema.field(rule.kwargs["column"]).type
    return any(of(kind) for of in (pa.types.is_string, pa.types.is_binary, pa.types.is_list, pa.types.is_dictionary))


def _judged(table: pa.Table, frame: Any, rules: Sequence[Rule], detail: str) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    left = list(rules)
    while left:
        # GX computes the quantiles of one rule for another on the same column, so that these do not run together
        now = list({(rule.type, rule.columns): rule for rule in reversed(left)}.values())
        left = [rule for rule in left if rule not in now]
        outcomes |= _run(table, frame, now, detail)
        for rule in now:
            if len(now) > 1 and outcomes[rule.position].broke:  # one that raises takes its neighbours with it
                outcomes |= _run(table, frame, [rule], detail)
    return outcomes


def _run(table: pa.Table, frame: Any, rules: Sequence[Rule], detail: str) -> dict[int, Outcome]:
    gx = great_expectations_import.load()
    engine = gx.Engine()
    engine.load_batch_data("table", frame)
    configurations = [
        gx.Configuration(type=rule.type, kwargs=_arguments(table, rule), meta={"position": rule.position})
        for rule in rules
    ]
    wanted = {"result_format": {"result_format": detail}, "catch_exceptions": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy about infinities, of pandas about dates
            raw = gx.Validator(execution_engine=engine).graph_validate(
                configurations=configurations, runtime_configuration=wanted
            )
    except Exception as error:  # noqa: BLE001  (what GX itself does not catch is the rule's outcome, too)
        return {rule.position: Outcome(False, f"{type(error).__name__}: {error}") for rule in rules}
    return {item.expectation_config.meta["position"]: _outcome(item) for item in raw}


def _outcome(item: Any) -> Outcome:
    info = item.exception_info or {}
    troubles = [info] if "raised_exception" in info else list(info.values())
    for trouble in troubles:
        if trouble.get("raised_exception"):
            return Outcome(False, str(trouble.get("exception_message") or "an exception without a message"))
    found = item.result
    if found.get("unexpected_count") is None or found.get("element_count") is None:
        return Outcome(bool(item.success), None, observed=found.get("observed_value"))
    elements = int(found["element_count"])
    missing = found.get("missing_count")
    rows, values = found.get("unexpected_index_list"), found.get("unexpected_list")
    return Outcome(
        success=bool(item.success),
        broke=None,
        elements=elements,
        judged=None if missing is None else elements - int(missing),
        unexpected=int(found["unexpected_count"]),
        rows=None if rows is None else tuple(int(row) for row in rows),
        values=None if values is None else tuple(values),
    )


def _arguments(table: pa.Table, rule: Rule) -> dict[str, Any]:
    """The rule's arguments; what bounds a float32 column counts as float32."""
    arguments = dict(rule.kwargs)
    column = arguments.get("column")
    if column not in table.column_names or table.schema.field(column).type != pa.float32():
        return arguments
    for key in ("min_value", "max_value"):
        if arguments.get(key) is not None:
            arguments[key] = _single(arguments[key])
    if "value_set" in arguments:
        arguments["value_set"] = [_single(value) for value in arguments["value_set"]]
    return arguments


def _single(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 3.4028235677973366e38:
        return value
    return struct.unpack("<f", struct.pack("<f", value))[0]
