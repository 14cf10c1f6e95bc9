"""Judges rows by compiled rules: about a microsecond for a score of them, without pandas and without GX."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from skewguard.errors import BadInputError
from skewguard.expectations.rows.generate import row_function
from skewguard.expectations.rows.helpers import GLOBALS
from skewguard.expectations.rows.suite import RowRule, RowSuite

Values = Sequence[Any]
Tally = tuple[int, int]


class RowValidator:
    """The ``row`` rules of a suite, ready to judge rows. Thread-safe.

    A row is a sequence of values in the order of ``columns``: int, float, str, bool, bytes, list, datetime with its
    zone, None. A mask has bit i set where the i-th of ``rules`` is violated, and bit ``len(rules) + i`` where that rule
    broke, that is, raised (``broken_mask`` has all of these); 0 is a row with which all is well. A rule that breaks
    leaves its neighbours judged.
    """

    check: Callable[[Values], int]
    """``check(values)`` gives the mask by the policy ``strict``: one wrong value violates its rule, as it does in GX on
    one row (with ``mostly`` 0 nothing does). Raises BadInputError for another number of values."""

    tally: Callable[[Values], Tally]
    """``tally(values)`` gives what the policy ``rate`` counts: the mask of what is wrong, whatever ``mostly`` is, and
    the mask of the rules that had nothing to judge (a missing value, a row outside the condition)."""

    def __init__(self, suite: RowSuite) -> None:
        self.suite = suite
        self.columns = suite.columns
        self.rules = suite.row_rules
        self.broken_mask = ((1 << len(self.rules)) - 1) << len(self.rules)
        numbered = list(enumerate(self.rules))
        strict = [(bit, rule) for bit, rule in numbered if rule.mostly > 0]
        self._strict = [bit for bit, _ in strict]
        # a function for each rule takes longer to make than all else, and is needed only where one breaks
        self._alone = cache(lambda bit: _built(row_function(suite, [numbered[bit]], tally=True, guarded=False)))
        self._lock = threading.Lock()
        self._times: Counter[int] = Counter()
        self._last: dict[int, str] = {}
        self.check = _built(row_function(suite, strict, tally=False, guarded=True), self._check_slowly)
        self.tally = _built(row_function(suite, numbered, tally=True, guarded=True), self._tally_slowly)

    def check_columns(self, columns: Sequence[Sequence[Any]], rows: int) -> dict[int, int]:
        """``check`` for rows given as columns, each of so many values: row number to mask, of bad rows only."""
        self._require_columns(columns, rows)
        return {row: mask for row, mask in enumerate(map(self.check, zip(*columns, strict=True))) if mask}

    def tally_columns(self, columns: Sequence[Sequence[Any]], rows: int) -> tuple[dict[int, int], dict[int, int]]:
        """``tally`` for rows given as columns: row number to mask of what is wrong, and of what was passed over."""
        self._require_columns(columns, rows)
        bad: dict[int, int] = {}
        skipped: dict[int, int] = {}
        for row, (wrong, passed) in enumerate(map(self.tally, zip(*columns, strict=True))):
            if wrong:
                bad[row] = wrong
            if passed:
                skipped[row] = passed
        return bad, skipped

    def violated(self, mask: int) -> tuple[RowRule, ...]:
        """The rules that a mask says are violated."""
        return tuple(rule for bit, rule in enumerate(self.rules) if mask >> bit & 1)

    def broke(self, mask: int) -> tuple[RowRule, ...]:
        """The rules that a mask says broke."""
        return self.violated(mask >> len(self.rules))

    @property
    def broken(self) -> Mapping[int, str]:
        """By position in the suite: how often a rule broke so far, and what it raised last."""
        with self._lock:
            return {self.rules[bit].position: f"{n} times, last {self._last[bit]}" for bit, n in self._times.items()}

    def _require_columns(self, columns: Sequence[Sequence[Any]], rows: int) -> None:
        lengths = {len(column) for column in columns}
        if len(columns) != len(self.columns) or lengths - {rows}:
            got = f"{len(columns)} columns of {', '.join(map(str, sorted(lengths))) or 'no'} values"
            raise BadInputError("columns", got, f"{len(self.columns)} of {rows}")

    def _check_slowly(self, values: Values) -> int:
        return self._tally_rules(values, self._strict)[0]

    def _tally_slowly(self, values: Values) -> Tally:
        return self._tally_rules(values, range(len(self.rules)))

    def _tally_rules(self, values: Values, bits: Iterable[int]) -> Tally:
        """Rule by rule, where one of them raised; one that did is marked as broken, and has judged nothing."""
        if len(values) != len(self.columns):
            raise BadInputError("values", f"{len(values)} values", f"{len(self.columns)}, one for each of the columns")
        bad = skipped = 0
        for bit in bits:
            try:
                wrong, passed = self._alone(bit)(values)
            except Exception as error:  # noqa: BLE001  (whatever a rule raises is its own outcome, told as such)
                wrong, passed = 1 << len(self.rules) + bit, 1 << bit
                with self._lock:
                    self._times[bit] += 1
                    self._last[bit] = f"{type(error).__name__}: {error}"[:200]
            bad |= wrong
            skipped |= passed
        return bad, skipped


def _built(
    function: tuple[str, dict[str, Any]], slow: Callable[[Values], Any] | None = None
) -> Callable[[Values], Any]:
    text, constants = function
    names = {**GLOBALS, **constants, "slow": slow}
    exec(compile(text, "<row rules>", "exec"), names)  # noqa: S102  (text of ours; generate.py says why nothing else is in it)
    made: Callable[[Values], Any] = names["check"]
    return made
