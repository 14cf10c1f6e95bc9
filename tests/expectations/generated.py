"""Random tables with random suites on them, where the engines of a suite are most likely to part; a strategy of them.

``case(seed)`` is the same case for the same seed on any machine; ``cases()`` is a hypothesis strategy that makes cases
in the same way, and shrinks them. ``tests/expectations/oracle.py`` says what GX makes of a case. A table has up to a
dozen rows and seven columns, a suite at most a score of rules, so that GX needs a fraction of a second for one.

Columns: whole numbers (to 2^63), floats (NaN, infinities, signed zero), float32 at its bounds, booleans, text (Unicode,
JSON, dates, newlines), timestamps (UTC, another zone, naive, seconds to nanoseconds), dates, lists, bytes,
dictionaries; with no nulls, some, or nothing else; tables without rows. Rules: every expectation that GX has for
pandas, with values that lie in the columns more often than not, ``mostly`` at shares that such small tables can have,
and ``row_condition`` objects.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Random = random.Random

NAN, INF = float("nan"), float("inf")
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """A table, and a suite document whose every rule ``parse_suite`` takes and whose columns are all in the table."""

    table: pa.Table
    document: dict[str, Any]

    def __repr__(self) -> str:
        columns = {
            field.name: (str(field.type), self.table.column(field.name).to_pylist()) for field in self.table.schema
        }
        return f"Case({columns!r}, {self.document['expectations']!r})"


def case(seed: int, rules: int = 10) -> Case:
    """The case of a number."""
    return _case(random.Random(seed), rules)


def cases(rules: int = 6) -> st.SearchStrategy[Case]:
    """Cases as a hypothesis strategy."""
    return st.randoms(use_true_random=False).map(lambda rng: _case(rng, rules))


# Tables


@dataclass(frozen=True)
class Kind:
    """A kind of column: its Arrow type, values of it in Python, and the same as a suite's JSON writes them."""

    type: pa.DataType
    values: tuple[Any, ...]
    family: str  # number, text, time, bool, other

    @property
    def written(self) -> tuple[Any, ...]:
        return tuple(_written(value) for value in self.values)


def _written(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value in (INF, -INF)):
        return 0.0  # JSON has none of them
    if isinstance(value, list):
        return [_written(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


WHOLE = (0, 1, 2, 3, 10, -1, -7, 100)
WIDE = (*WHOLE, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63))
REAL = (0.0, -0.0, 0.1, 0.5, 1.0, 2.0, 3.0, 10.0, -1.5, 1e20, 2.5e-10, 1 / 3, NAN, INF, -INF)
SINGLE = (0.0, 0.1, 0.2, 0.3, 1.0, 2.0, 16777216.0, -0.1, 3.4e38, NAN, INF)
TEXT = ("a", "b", "ab", "", "a\n", "A", " a ", "é", "e\u0301", "١", "日本", "🙂", "1", "1.0", "nan", "None",
        "true", "2026-01-01", "2026-13-01", "01/02/2026", '{"a": 1}', "[1]", "{", "'; drop", '"', "\\d", "a.b",
        "x" * 12)  # fmt: skip
FEW = ("a", "b", "c")
MOMENTS = tuple(START + timedelta(hours=h, microseconds=us) for h, us in ((0, 0), (1, 0), (-24, 0), (24, 5), (0, 1)))
NAIVE = tuple(moment.replace(tzinfo=None) for moment in MOMENTS)
SECONDS = tuple(moment.replace(microsecond=0) for moment in MOMENTS)
DAYS = (date(2026, 1, 1), date(2026, 1, 2), date(2025, 12, 31), date(1969, 12, 31))

KINDS = (
    Kind(pa.int64(), WHOLE, "number"),
    Kind(pa.int64(), WIDE, "number"),
    Kind(pa.int32(), WHOLE, "number"),
    Kind(pa.float64(), REAL, "number"),
    Kind(pa.float64(), (0.0, 1.0, 2.0, 0.5), "number"),
    Kind(pa.float32(), SINGLE, "number"),
    Kind(pa.bool_(), (True, False), "bool"),
    Kind(pa.string(), TEXT, "text"),
    Kind(pa.string(), FEW, "text"),
    Kind(pa.dictionary(pa.int8(), pa.string()), FEW, "text"),
    Kind(pa.timestamp("us", "UTC"), MOMENTS, "time"),
    Kind(pa.timestamp("ns", "UTC"), MOMENTS, "time"),
    Kind(pa.timestamp("s", "UTC"), SECONDS, "time"),
    Kind(pa.timestamp("us", "Europe/Berlin"), MOMENTS, "time"),
    Kind(pa.timestamp("us"), NAIVE, "time"),
    Kind(pa.date32(), DAYS, "time"),
    Kind(pa.list_(pa.float64()), ([], [1.0], [1.0, NAN], [1.0, 2.0]), "other"),
    Kind(pa.list_(pa.string()), ([], ["a"], ["a", None], ["a", "b"]), "other"),
    Kind(pa.binary(), (b"", b"a", b"\xff\x00", b"ab"), "other"),
)
NAMES = ("x", "y", "amount", "from", "a b", "naïve", "kind", "z9")
HOSTILE = ('q"uote', "o'clock", "semi; drop table t", "a\nb", "__import__('os')", "{x}", "%s", "a,b")


@dataclass(frozen=True)
class _Column:
    name: str
    kind: Kind
    plain: bool  # a name that DataFrame.query, GX's way of a row condition, can take


def _case(rng: Random, rules: int) -> Case:
    names = rng.sample(NAMES, rng.randint(2, 6))
    if rng.random() < 0.2:
        names.append(rng.choice(HOSTILE))
    favourite = rng.choice(KINDS)  # so that pairs of one kind are not rare
    kinds = [favourite if rng.random() < 0.3 else rng.choice(KINDS) for _ in names]
    for place, family in ((0, "number"), (1, "text")):  # most rules are about one of these
        if rng.random() < 0.7:
            kinds[place] = rng.choice([kind for kind in KINDS if kind.family == family])
    columns = [_Column(name, kind, name in NAMES) for name, kind in zip(names, kinds, strict=True)]
    rows = rng.choice((0, 1, 1, 2, 3, 4, 5, 8, 12))
    table = pa.table({column.name: _array(rng, column.kind, rows) for column in columns})
    entries = [_entry(rng, columns, table) for _ in range(rules)]
    return Case(table, {"name": "generated", "expectations": entries})


def _array(rng: Random, kind: Kind, rows: int) -> pa.Array:
    share = rng.choice((0.0, 0.0, 0.2, 0.5, 1.0) if rows else (0.0,))
    few = rng.sample(kind.values, min(len(kind.values), rng.choice((1, 2, 4, 30))))
    values = [None if rng.random() < share else rng.choice(few) for _ in range(rows)]
    return pa.array(values, kind.type)


# Suites

Arguments = dict[str, Any]
Family = Callable[[Random, Sequence[_Column], pa.Table], Arguments]
_MOSTLY = (1, 1, 0.0, 0.5, 0.8, 0.75, 0.9, 1 / 3, 2 / 3, 0.999)


def _entry(rng: Random, columns: Sequence[_Column], table: pa.Table) -> dict[str, Any]:
    kind = rng.choice(sorted(RULES))
    kwargs = RULES[kind](rng, columns, table)
    if kind in MAPS and rng.random() < 0.7:
        kwargs["mostly"] = rng.choice(_MOSTLY)
    if kind not in _WITHOUT_CONDITION and rng.random() < 0.25:
        condition = _condition(rng, columns)
        if condition is not None:
            kwargs["row_condition"] = condition
    severity = rng.choice(("critical", "warning", "info"))
    return {"type": kind, "kwargs": kwargs, "meta": {}, "severity": severity}


def _column(rng: Random, columns: Sequence[_Column], *families: str) -> _Column:
    """A column, of these families nine times in ten where there is one."""
    fitting = [column for column in columns if column.kind.family in families]
    return rng.choice(fitting if fitting and rng.random() < 0.9 else columns)


def _some(rng: Random, values: Sequence[Any], least: int = 0, most: int = 4) -> list[Any]:
    return rng.sample(list(values), rng.randint(min(least, len(values)), min(most, len(values))))


def _limits(rng: Random, pool: Sequence[Any]) -> Arguments:
    low, high = sorted((rng.choice(pool), rng.choice(pool)))
    low, high = (int(value) if isinstance(value, bool) else value for value in (low, high))  # True is no bound
    sides = rng.choice(("both", "both", "low", "high"))
    limits: Arguments = {}
    if sides != "high":
        limits["min_value"] = low
    if sides != "low":
        limits["max_value"] = high
    for key in ("strict_min", "strict_max"):
        if rng.random() < 0.3:
            limits[key] = rng.random() < 0.7 and low != high  # nothing lies strictly between equal bounds: refused
    return limits


_NUMBERS = (0, 1, 2, 3, 10, -1, 0.1, 0.2, 0.3, 0.5, 1.5, -0.1, 1 / 3, 2**53, 16777217, 1e20, 1e300, 100)
_TIMES = tuple(moment.isoformat() for moment in MOMENTS)
_DAYS = ("2025-12-31", "2026-01-01", "2026-01-02")
_COUNTS = (0, 1, 2, 3, 4, 10)
_SHARES = (0.0, 0.25, 1 / 3, 0.5, 0.75, 1.0)
_REGEXES = ("a", "^a$", "^a", r"^\d+$", r"\w", "b|c", "(a)(b)?", "(?i)a", r"\s", "^$", "[^\\]]", "é", r"\.0$",
            "None|nan", r"(a)\1", r"^(?!a)", r"\b00:00", "0$")  # fmt: skip
_TYPES = ("int64", "int32", "float64", "float32", "bool", "str", "list", "Timestamp", "bytes", "int", "float", "object",
          "datetime64", "dict")  # fmt: skip
_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%H", "a", "%Y")
_SCHEMAS: tuple[Arguments, ...] = (
    {"type": "object"},
    {"type": "object", "required": ["a"]},
    {"type": "array"},
    {"type": "number"},
    {},
)
_PAIR_IGNORES = ("both_values_are_missing", "either_value_is_missing", "neither")
_MANY_IGNORES = ("all_values_are_missing", "any_value_is_missing", "never")


def _pool(column: _Column) -> list[Any]:
    """Values of a set as JSON has them, some of another type than the column's."""
    return [
        *column.kind.written,
        *{"number": ("1", True), "text": (1, 0), "bool": (1, 0, 0.0)}.get(column.kind.family, ()),
    ]


def _between(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    column = _column(rng, columns, "number", "time")
    time = column.kind.family == "time"
    pool: Sequence[Any] = rng.choice((_TIMES, _DAYS)) if time else _NUMBERS
    if not time and rng.random() < 0.6:
        pool = [
            value for value in column.kind.written if isinstance(value, int | float) and abs(value) <= 2**53
        ] or pool
    if time and pool is _TIMES and rng.random() < 0.2:
        return {"column": column.name, "min_value": "2026-01-01T00:00:00"}
    limits = _limits(rng, sorted(pool))
    return {"column": column.name, **limits}


def _bounded(*families: str) -> Family:
    def make(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
        column = _column(rng, columns, *families)
        return {"column": column.name, **_limits(rng, _NUMBERS)}

    return make


def _extreme(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    column = _column(rng, columns, "number", "number", "time")
    pool = sorted(_TIMES) if column.kind.family == "time" else _NUMBERS
    return {"column": column.name, **_limits(rng, pool)}


def _counted(pool: Sequence[Any]) -> Family:
    def make(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
        return {"column": rng.choice(columns).name, **_limits(rng, pool)}

    return make


def _set(least: int) -> Family:
    def make(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
        column = _column(rng, columns, "number", "text", "bool")
        values = _some(rng, _pool(column), least)
        if rng.random() < 0.1:
            values.append(None)
        return {"column": column.name, "value_set": values}

    return make


def _any(*families: str, **fixed: Sequence[Any]) -> Family:
    """A column (of these families), and arguments of which each is one of those listed."""

    def make(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
        column = _column(rng, columns, *families) if families else rng.choice(columns)
        return {"column": column.name, **{key: rng.choice(values) for key, values in fixed.items()}}

    return make


def _regexes(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    return {"column": _column(rng, columns, "text").name, "regex_list": _some(rng, _REGEXES, 1, 3)}


def _regexes_on(rng: Random, columns: Sequence[_Column], table: pa.Table) -> Arguments:
    return {**_regexes(rng, columns, table), "match_on": rng.choice(("any", "all"))}


def _pair(rng: Random, columns: Sequence[_Column]) -> tuple[_Column, _Column]:
    """Two columns, of one family most of the time."""
    first = rng.choice(columns)
    alike = [c for c in columns if c.kind.family == first.kind.family and c is not first]
    second = rng.choice(alike if alike and rng.random() < 0.8 else columns)
    return first, second


def _pairs(**fixed: Sequence[Any]) -> Family:
    def make(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
        first, second = _pair(rng, columns)
        chosen = {key: rng.choice(values) for key, values in fixed.items()}
        return {"column_A": first.name, "column_B": second.name, "ignore_row_if": rng.choice(_PAIR_IGNORES), **chosen}

    return make


def _pair_set(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    first, second = _pair(rng, columns)
    pairs = [[rng.choice((*_pool(first), None)), rng.choice((*_pool(second), None))] for _ in range(rng.randint(0, 5))]
    pairs = [pair for pair in pairs if not any(isinstance(value, list) for value in pair)]
    ignore = rng.choice(_PAIR_IGNORES)
    return {
        "column_A": first.name,
        "column_B": second.name,
        "value_pairs_set": pairs or [[None, None]],
        "ignore_row_if": ignore,
    }


def _several(*families: str, **fixed: Sequence[Any]) -> Family:
    def make(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
        fitting = [c for c in columns if not families or c.kind.family in families]
        chosen = fitting if len(fitting) >= 2 and rng.random() < 0.9 else columns
        names = [c.name for c in rng.sample(list(chosen), rng.randint(2, min(4, len(chosen))))]
        rest = {key: rng.choice(values) for key, values in fixed.items()}
        return {"column_list": names, "ignore_row_if": rng.choice(_MANY_IGNORES), **rest}

    return make


def _alike(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    family = rng.choice(columns).kind.family
    chosen = [c for c in columns if c.kind.family == family]
    chosen = chosen if len(chosen) >= 2 else list(columns)
    names = [c.name for c in rng.sample(chosen, rng.randint(2, min(3, len(chosen))))]
    return {"column_list": names, "ignore_row_if": rng.choice(_MANY_IGNORES)}


def _quantiles(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    quantiles = sorted(_some(rng, (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0), 1, 3))
    ranges = [sorted((rng.choice(_NUMBERS), rng.choice(_NUMBERS))) for _ in quantiles]
    values: list[list[Any]] = [[None if rng.random() < 0.15 else low, high] for low, high in ranges]
    return {
        "column": _column(rng, columns, "number").name,
        "quantile_ranges": {"quantiles": quantiles, "value_ranges": values},
        "allow_relative_error": False,
    }


def _divergence(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    column = _column(rng, columns, "text", "number")
    threshold = {"column": column.name, "threshold": rng.choice((0.1, 0.5, 10))}
    if column.kind.family == "text":
        return {**threshold, "partition_object": {"values": ["a", "b", "c"], "weights": [0.5, 0.25, 0.25]}}
    partition = {"bins": [-1000, 0, 1, 1000], "weights": [0.25, 0.5, 0.25]}
    held_out = {"internal_weight_holdout": 0.01, "tail_weight_holdout": 0.01}
    return {**threshold, **held_out, "partition_object": partition}


def _outliers(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    column = _column(rng, columns, "number").name
    return {"column": column, "method": rng.choice(("iqr", "std")), "multiplier": rng.choice((1.5, 0.5, 3.0))}


def _table_limits(rng: Random, _columns: Sequence[_Column], _table: pa.Table) -> Arguments:
    return _limits(rng, _COUNTS)


def _plain_limits(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    limits = _limits(rng, (1, len(columns), 3, 10))
    return {key: value for key, value in limits.items() if not key.startswith("strict")}


def _row_count(rng: Random, _: Sequence[_Column], table: pa.Table) -> Arguments:
    return {"value": rng.choice((table.num_rows, 0, 1, 3))}


def _column_count(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    return {"value": rng.choice((len(columns), len(columns), 3))}


def _listed(rng: Random, columns: Sequence[_Column]) -> list[str]:
    names = [c.name for c in columns]
    what = rng.choice(("same", "same", "swapped", "fewer", "more"))
    if what == "swapped":
        return names[::-1]
    return names[1:] if what == "fewer" else [*names, "absent"] if what == "more" else names


def _ordered(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    return {"column_list": _listed(rng, columns)}


def _column_set(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    return {"column_set": _listed(rng, columns), "exact_match": rng.choice((True, False, None))}


def _exists(rng: Random, columns: Sequence[_Column], _: pa.Table) -> Arguments:
    arguments: Arguments = {"column": rng.choice([*(c.name for c in columns), "absent"])}
    if rng.random() < 0.4:
        arguments["column_index"] = rng.randint(0, len(columns))
    return arguments


MAPS: dict[str, Family] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _set(1),
    "expect_column_values_to_not_be_in_set": _set(0),
    "expect_column_values_to_be_null": _any(),
    "expect_column_values_to_not_be_null": _any(),
    "expect_column_values_to_match_regex": _any("text", regex=_REGEXES),
    "expect_column_values_to_not_match_regex": _any("text", regex=_REGEXES),
    "expect_column_values_to_match_regex_list": _regexes_on,
    "expect_column_values_to_not_match_regex_list": _regexes,
    "expect_column_value_lengths_to_be_between": _counted(_COUNTS),
    "expect_column_value_lengths_to_equal": _any("text", value=(0, 1, 2, 3, 10)),
    "expect_column_values_to_be_of_type": _any(type_=_TYPES),
    "expect_column_values_to_be_in_type_list": _any(
        type_list=(["int64", "int32"], ["str"], ["float64", "bool"], ["Timestamp", "list"])
    ),
    "expect_column_values_to_match_strftime_format": _any("text", strftime_format=_FORMATS),
    "expect_column_values_to_be_dateutil_parseable": _any("text"),
    "expect_column_values_to_be_json_parseable": _any("text"),
    "expect_column_values_to_match_json_schema": _any("text", json_schema=_SCHEMAS),
    "expect_column_values_to_be_unique": _any(),
    "expect_column_values_to_be_increasing": _any("number", "time", strictly=(True, False)),
    "expect_column_values_to_be_decreasing": _any("number", "time", strictly=(True, False)),
    "expect_column_value_z_scores_to_be_less_than": _any("number", threshold=(1, 2, 3), double_sided=(True, False)),
    "expect_column_values_to_not_be_outliers": _outliers,
    "expect_column_pair_values_to_be_equal": _pairs(),
    "expect_column_pair_values_a_to_be_greater_than_b": _pairs(or_equal=(True, False, None)),
    "expect_column_pair_values_to_be_in_set": _pair_set,
    "expect_multicolumn_sum_to_equal": _several("number", sum_total=(0, 1, 2, 3, 0.3, 10)),
    "expect_multicolumn_values_to_be_equal": _alike,
    "expect_select_column_values_to_be_unique_within_record": _several(),
    "expect_compound_columns_to_be_unique": _several(),
}
"""Expectations with ``mostly``, and what makes their arguments."""

AGGREGATES: dict[str, Family] = {
    "expect_column_max_to_be_between": _extreme,
    "expect_column_min_to_be_between": _extreme,
    "expect_column_mean_to_be_between": _bounded("number"),
    "expect_column_median_to_be_between": _bounded("number"),
    "expect_column_sum_to_be_between": _bounded("number"),
    "expect_column_stdev_to_be_between": _bounded("number"),
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_unique_value_count_to_be_between": _counted(_COUNTS),
    "expect_column_proportion_of_unique_values_to_be_between": _counted(_SHARES),
    "expect_column_proportion_of_non_null_values_to_be_between": _counted(_SHARES),
    "expect_column_most_common_value_to_be_in_set": _set(1),
    "expect_column_distinct_values_to_be_in_set": _set(1),
    "expect_column_distinct_values_to_contain_set": _set(0),
    "expect_column_distinct_values_to_equal_set": _set(0),
    "expect_column_kl_divergence_to_be_less_than": _divergence,
    "expect_column_type_to_be": _any(type_=_TYPES),
    "expect_column_to_exist": _exists,
    "expect_table_row_count_to_be_between": _table_limits,
    "expect_table_row_count_to_equal": _row_count,
    "expect_table_column_count_to_be_between": _plain_limits,
    "expect_table_column_count_to_equal": _column_count,
    "expect_table_columns_to_match_ordered_list": _ordered,
    "expect_table_columns_to_match_set": _column_set,
}
"""Expectations on a column or a table as a whole."""

RULES: dict[str, Family] = {**MAPS, **AGGREGATES}
_WITHOUT_CONDITION = {"expect_column_to_exist", "expect_column_type_to_be", "expect_table_column_count_to_be_between",
                      "expect_table_column_count_to_equal", "expect_table_columns_to_match_ordered_list",
                      "expect_table_columns_to_match_set"}  # fmt: skip


# Row conditions


def _condition(rng: Random, columns: Sequence[_Column]) -> dict[str, Any] | None:
    """A condition as GX's objects write it; None where no column's name can stand in one."""
    plain = [column for column in columns if column.plain]
    what = rng.choice(("one", "one", "one", "and", "or"))
    if what == "one":
        return _simple(rng, rng.choice(plain))
    parts = [_simple(rng, rng.choice(plain)) for _ in range(rng.randint(2, 3))]
    return {"type": what, "conditions": parts}


def _simple(rng: Random, column: _Column) -> dict[str, Any]:
    name = {"name": column.name}
    values = [value for value in column.kind.written if isinstance(value, str | int | float)]
    if column.kind.family == "time" and rng.random() < 0.9:
        values = list(_TIMES)  # with a zone; without one, GX cannot compare
    if rng.random() < 0.3 or not values or column.kind.family == "other":
        return {"type": "nullity", "column": name, "is_null": rng.random() < 0.3}
    operators = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN")
    operator = rng.choice(operators[:2] + operators[6:] if column.kind.family in ("text", "bool") else operators)
    parameter: Any = rng.choice(values)
    if operator in ("IN", "NOT_IN"):
        # GX takes text or numbers, of one sort
        values = [int(value) if isinstance(value, bool) else value for value in values]
        parameter = _some(rng, values, 1, 3)
    return {"type": "comparison", "column": name, "operator": operator, "parameter": parameter}
