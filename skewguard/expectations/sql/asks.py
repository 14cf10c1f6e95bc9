"""What a rule asks of the data. A rule asks in rounds, each round is answered for all rules at once.

Texts are SQL over the columns ``c0, c1, ...`` of the table; values of a suite are in them as parameters only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from skewguard.expectations.outcome import Outcome
from skewguard.expectations.sql.columns import Column
from skewguard.expectations.sql.outcomes import Limits

_PARAMETER = re.compile(r"\$v\d+")


@dataclass(frozen=True)
class Total:
    """An aggregate over the table, or over the rows ``where``; all of a round are one SELECT. Answer: its value."""

    sql: str


@dataclass(frozen=True)
class Groups:
    """The groups of rows with equal keys. Answer: (groups, rows in groups of more than one).

    ``dense`` is the least value where the one key is of whole numbers that lie close together, those of ``whole``.
    """

    keys: tuple[str, ...]
    where: str
    dense: int | None = None
    whole: Column | None = None


@dataclass(frozen=True)
class Counts:
    """The distinct values of ``key``; ``whole`` as for Ranked. Answer: a list of (value, rows)."""

    key: str
    where: str
    whole: Column | None = None


@dataclass(frozen=True)
class About:
    """What is true of a whole column. Answer: its Facts; for whole numbers with their span."""

    column: Column


@dataclass(frozen=True)
class Held:
    """Whether the floats of a column are in memory, so that ``Within`` and ``Apart`` are quicker than a scan.

    Answer: True or False.
    """

    column: Column


@dataclass(frozen=True)
class Within:
    """How many floats of a column that is held are within limits. Answer: a number."""

    column: Column
    limits: Limits


@dataclass(frozen=True)
class Apart:
    """What lies between the floats of a column that is held and a centre.

    Answer: (how many are not missing, the sum of the differences, the sum of their squares).
    """

    column: Column
    centre: float


@dataclass(frozen=True)
class Ends:
    """The least and the largest value of a column, as ``Column.value`` has them; None and None where all are missing.

    Answer: the pair, or None where only a scan would tell.
    """

    column: Column


@dataclass(frozen=True)
class Filled:
    """How many values of a column are not null. Answer: a number."""

    column: Column


@dataclass(frozen=True)
class Few:
    """Whether the first rows of a column have few distinct values. Answer: True or False."""

    column: Column


@dataclass(frozen=True)
class Centre:
    """The mean of the finite values in the first rows of a numeric column. Answer: a float, 0 where there is none."""

    column: Column


@dataclass(frozen=True)
class Ranked:
    """Values by their place among the sorted ones: ``ranks`` gives places, from 0, for a number of values.

    ``whole``: the column whose present values these are, where no row condition leaves some out.
    Answer: a list, one value a place; empty where there are no values.
    """

    key: str
    where: str
    ranks: Callable[[int], list[int]]
    whole: Column | None = None


@dataclass(frozen=True)
class First:
    """The first rows in the order of the table. Answer: a list of (row number, value of each of ``columns``).

    With ``repeated`` only rows whose keys others have, too; ``joined``: the condition has a query of its own.
    """

    columns: tuple[str, ...]
    where: str
    repeated: tuple[str, ...] = ()
    joined: bool = False


Ask = Total | Groups | Counts | Few | Filled | Centre | About | Ends | Held | Within | Apart | Ranked | First
QUICK = (Few, Filled, Centre, About, Ends, Held)
"""Questions that need no scan: answered first, so that what follows from them is asked in the same scan as the rest."""
Answers = dict[Ask, Any]


class LeftToGx(Exception):  # noqa: N818  (no error: another way)
    """SQL cannot be sure to say what GX would say; the reason is for the report."""

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self)


Judging = Generator[Sequence[Ask], Answers, Outcome]


@dataclass
class Parameters:
    """The values of a suite, by the names that they have in the SQL."""

    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """SQL for a value: its parameter."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def of(self, sql: str) -> dict[str, Any]:
        """The parameters that a statement has."""
        return {name[1:]: self.values[name[1:]] for name in _PARAMETER.findall(sql)}


def both(*conditions: str | None) -> str:
    """SQL: all of the conditions; ``true`` for none."""
    given = [condition for condition in conditions if condition]
    return " AND ".join(f"({condition})" for condition in given) if len(given) > 1 else (given or ["true"])[0]


def total(function: str, where: str = "true") -> Total:
    """An aggregate of the rows where a condition is true."""
    return Total(function if where == "true" else f"{function} FILTER (WHERE {where})")


def count(where: str = "true") -> Total:
    """The number of rows where a condition is true."""
    return Total("count(*)" if where == "true" else f"coalesce(count_if({where}), 0)")  # faster than a filter
