"""When an offline and an online value are equal: one SQL expression per dtype, used by every comparison.

The online side holds what Feast writes: NaN offline is null online (feast/type_map.py), timestamps lose what is below
a second, a null inside a list becomes NaN, 0, false or empty. Those are equal here; all else that differs is different.
Null and NaN are otherwise different things; NaN equals NaN. Numbers are equal within a tolerance, by default
1e-9 relative for DOUBLE and 1e-6 for FLOAT (a float32 has 24 significant bits: about 6e-8), exact for integers.
"""

from __future__ import annotations

from skewguard import dtypes
from skewguard.config import Tolerance

# protobuf's lists hold no null: what Feast writes in its place (online/encoding.py, LIST_NULLS)
_NULL_INSIDE = {
    "STRING": "p[2] = ''", "UUID": "p[2] = ''", "TIME_UUID": "p[2] = ''", "DECIMAL": "p[2] = ''",
    "BYTES": "p[2] = ''::BLOB", "INT32": "p[2] = 0", "INT64": "p[2] = 0", "BOOL": "NOT p[2]",
    "FLOAT": "isnan(p[2])", "DOUBLE": "isnan(p[2])", "UNIX_TIMESTAMP": "p[2] IS NULL",
    "ZONED_TIMESTAMP": "p[2] IS NULL",
}  # fmt: skip
_DEFAULT_RELATIVE = {"DOUBLE": 1e-9, "FLOAT": 1e-6}


def _close(dtype: str, offline: str, online: str, tolerance: Tolerance) -> str:
    relative = tolerance.relative if tolerance.relative is not None else _DEFAULT_RELATIVE.get(dtype, 0.0)
    absolute = tolerance.absolute or 0.0
    a, b = f"({offline})", f"({online})"
    if dtype in dtypes.INTEGERS:
        if not relative and not absolute:
            return f"{a} = {b}"
        a, b = f"{a}::DOUBLE", f"{b}::DOUBLE"
    if dtype == "FLOAT":
        a, b = f"{a}::FLOAT::DOUBLE", f"{b}::FLOAT::DOUBLE"
    bound = f"greatest({absolute!r}, {relative!r} * greatest(abs({a}), abs({b})))"
    return f"({a} = {b} OR (isfinite({a}) AND isfinite({b}) AND abs({a} - {b}) <= {bound}))"


def _scalar(dtype: str, offline: str, online: str, tolerance: Tolerance) -> str:
    if dtype in dtypes.FLOATS:
        close = _close(dtype, offline, online, tolerance)
        return (
            f"CASE WHEN {offline} IS NULL THEN {online} IS NULL "
            f"WHEN isnan({offline}) THEN {online} IS NULL OR isnan({online}) "
            f"WHEN {online} IS NULL OR isnan({online}) THEN false ELSE {close} END"
        )
    if dtype in dtypes.INTEGERS:
        close = _close(dtype, offline, online, tolerance)
        return (
            f"CASE WHEN {offline} IS NULL OR {online} IS NULL "
            f"THEN {offline} IS NULL AND {online} IS NULL ELSE {close} END"
        )
    if dtype == "UNIX_TIMESTAMP":
        return (
            f"CASE WHEN {offline} IS NULL OR {online} IS NULL THEN {offline} IS NULL AND {online} IS NULL "
            f"ELSE abs(epoch_us({offline}) - epoch_us({online})) < 1000000 END"
        )
    return f"{offline} IS NOT DISTINCT FROM {online}"


def equal_sql(dtype: str, offline: str, online: str, tolerance: Tolerance = Tolerance()) -> str:  # noqa: B008
    """A SQL boolean, never null: does the online value hold what the offline value asks for?"""
    element = dtypes.element(dtype)
    if element is None:
        return f"({_scalar(dtype, offline, online, tolerance)})"
    if dtype.endswith("_SET"):
        offline, online = f"list_sort({offline})", f"list_sort({online})"
    inner = _scalar(element, "p[1]", "p[2]", tolerance)
    inner = f"CASE WHEN p[1] IS NULL THEN coalesce({_NULL_INSIDE[element]}, true) ELSE {inner} END"
    pairs = f"list_zip({offline}, {online})"
    same = f"coalesce(list_bool_and(list_transform({pairs}, lambda p: {inner})), true)"
    return (
        f"(CASE WHEN {offline} IS NULL OR {online} IS NULL THEN {offline} IS NULL AND {online} IS NULL "
        f"WHEN len({offline}) <> len({online}) THEN false ELSE {same} END)"
    )
