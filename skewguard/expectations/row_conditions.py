"""Row conditions as data: GX's comparison, nullity, and "and"/"or" of those. Whatever else there is, is refused.

GX 1.24 takes more: a text, a number (which it makes a text of), or a condition of the type "pass_through" anywhere
among the others. All of these it evaluates as code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN")
MAX_DEPTH = 20
_FORMS = (
    '{"type": "comparison", "column": {"name": ...}, "operator": "==", "parameter": ...}, or '
    '{"type": "nullity", "column": {"name": ...}, "is_null": false}, or "and"/"or" of such "conditions"'
)


def condition_problems(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the row condition in an expectation's arguments, a line each."""
    condition = kwargs.get("row_condition")
    if kwargs.get("condition_parser"):
        yield f"condition_parser: got {kwargs['condition_parser']!r}; leave it out: it is for conditions as text."
    if condition is not None:
        yield from _problems("row_condition", condition, 0)


def _problems(at: str, condition: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"{at.split('.')[0]}: conditions within conditions, more than {MAX_DEPTH} deep; expected fewer."
        return
    if not isinstance(condition, Mapping) or "pass_through_filter" in condition:
        yield f"{at}: got {condition!r}; text is evaluated as code, and differently by each engine; expected {_FORMS}."
        return
    kind = condition.get("type")
    wanted = {"comparison": {"column", "operator", "parameter"}, "nullity": {"column", "is_null"},
              "and": {"conditions"}, "or": {"conditions"}}.get(kind if isinstance(kind, str) else "")  # fmt: skip
    if wanted is None or set(condition) != {"type", *wanted}:
        yield f"{at}: got type {kind!r} with {', '.join(map(repr, condition))}; expected {_FORMS}."
        return
    if "conditions" in wanted:
        parts = condition["conditions"]
        if not isinstance(parts, list) or not parts:
            yield f"{at}.conditions: got {parts!r}; expected a list of conditions."
            return
        for index, part in enumerate(parts):
            yield from _problems(f"{at}.conditions[{index}]", part, depth + 1)
        return
    yield from _leaf(at, condition)


def _leaf(at: str, condition: Mapping[str, Any]) -> Iterator[str]:
    column = condition["column"]
    if not isinstance(column, Mapping) or set(column) != {"name"} or not isinstance(column["name"], str):
        yield f'{at}.column: got {column!r}; expected {{"name": ...}}.'
    if condition["type"] == "nullity":
        if not isinstance(condition["is_null"], bool):
            yield f"{at}.is_null: got {condition['is_null']!r}; expected true or false."
        return
    operator, parameter = condition["operator"], condition["parameter"]
    if operator not in OPERATORS:
        yield f"{at}.operator: got {operator!r}; expected one of {', '.join(OPERATORS)}."
    several = operator in ("IN", "NOT_IN")
    values = parameter if several and isinstance(parameter, list) else [parameter]
    if several is not isinstance(parameter, list) or not all(isinstance(v, str | int | float) for v in values):
        expected = "a list of numbers, texts or booleans" if several else "a number, a text or a boolean"
        yield f"{at}.parameter: got {parameter!r}; expected {expected}."
