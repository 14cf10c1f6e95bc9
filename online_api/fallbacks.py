"""Other values in the place of features: the last known good one, the contract's default, or null. None goes untold.

docs/gates.md says when a feature needs one. The status of a value that was sent instead is PRESENT, that of a null is
NULL_VALUE; the event timestamp is that of the last known good row, none otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from online_api.last_good import LastGood
from online_api.lookup import NULL_VALUE, PRESENT, Column, Lookup, ViewColumns, read_rows
from online_api.settings import ServingPolicy
from online_api.values import EPOCH_TEXT, timestamp_text
from skewguard.blocked import Place, places
from skewguard.plan import ServingPlan


@dataclass(frozen=True)
class Output:
    """A feature of an answer: where it stands in the look-up's reads (``read`` None: an on-demand one)."""

    index: int
    name: str
    place: Place
    read: int | None
    position: int


@dataclass(frozen=True)
class Answered:
    """What a look-up would answer: keys by group and row, replies by group and row, the views, on-demand columns with
    their event timestamps as text."""

    rows: int
    keys: Sequence[Sequence[bytes]]
    replies: Sequence[Sequence[Any]]
    views: Sequence[ViewColumns]
    computed: Sequence[tuple[Column, list[str]]]
    as_of_ns: int


@dataclass
class Wanted:
    """The rows in which a feature needs another value, on whose word (service), and why."""

    service: str
    because: str
    rows: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Replaced:
    """A feature with other values in some rows: the whole column as it is sent, and which kind each row got."""

    output: Output
    wanted: Wanted
    values: list[Any]
    statuses: list[str]
    timestamps: list[str]
    kinds: Mapping[int, str]

    def vector(self) -> dict[str, Any]:
        """As a response has it."""
        return {"values": self.values, "statuses": self.statuses, "event_timestamps": self.timestamps}

    def told(self, rows: int) -> dict[str, Any]:
        """As the metadata of a response has it: by kind the rows, or "all"."""
        by_kind: dict[str, list[int]] = {}
        for row, kind in self.kinds.items():
            by_kind.setdefault(kind, []).append(row)
        used = {kind: "all" if len(found) == rows else sorted(found) for kind, found in sorted(by_kind.items())}
        who = {"feature": self.output.name, "reference": self.output.place.reference, "service": self.wanted.service}
        return {**who, "because": self.wanted.because, "used": used}


class Fallbacks:
    """Finds other values for one prepared look-up.

    ``tokens``: a number of ``last_good`` for each read. ``policy_of`` and ``defaults_of`` tell a service's policy, and
    its contract's defaults by full feature name.
    """

    def __init__(
        self,
        lookup: Lookup,
        last_good: LastGood,
        policy_of: Callable[[str], ServingPolicy],
        defaults_of: Callable[[str], Mapping[str, Any]],
        plan: ServingPlan,
    ) -> None:
        self._lookup = lookup
        self._last_good = last_good
        self._policy_of = policy_of
        self._defaults_of = defaults_of
        self.outputs = outputs_of(lookup)
        self._plan = plan
        self._tokens = last_good.new_places(len(lookup.reads))

    def replace(self, wanted: Mapping[int, Wanted], answered: Answered) -> list[Replaced]:
        """The features (by place in the answer) that need other values, with them."""
        good: dict[tuple[int, int], ViewColumns | None] = {}
        return [self._column(self.outputs[index], one, answered, good) for index, one in sorted(wanted.items())]

    def _column(
        self, output: Output, wanted: Wanted, answered: Answered, good: dict[tuple[int, int], ViewColumns | None]
    ) -> Replaced:
        policy = self._policy_of(wanted.service)
        order = policy.fallbacks_of(output.place.reference)
        default = self._default(wanted.service, output.place)
        max_age = policy.fallback_max_age.total_seconds()
        values, statuses, timestamps = self._as_read(output, answered)
        kinds: dict[int, str] = {}
        for row in sorted(wanted.rows):
            found: tuple[str, Any, str, str] = ("null", None, NULL_VALUE, EPOCH_TEXT)
            for kind in order:
                if kind == "last_known_good" and output.read is not None:
                    if (output.read, row) not in good:
                        good[output.read, row] = self._good_row(output.read, row, answered, max_age)
                    view = good[output.read, row]
                    column = None if view is None else view.columns[output.place.feature]
                    if view is not None and column is not None and (column.statuses or (PRESENT,))[0] == PRESENT:
                        found = (kind, column.values[0], PRESENT, timestamp_text(view.timestamps[0]))
                        break
                if kind == "contract_default" and default is not None:
                    found = (kind, default, PRESENT, EPOCH_TEXT)
                    break
            kinds[row], values[row], statuses[row], timestamps[row] = found
        return Replaced(output, wanted, values, statuses, timestamps, kinds)

    def _good_row(self, read: int, row: int, answered: Answered, max_age: float) -> ViewColumns | None:
        """The last known good row of a view for an entity; its values past their TTL are none."""
        view = self._lookup.reads[read]
        reply = self._last_good.find(self._tokens[read], answered.keys[view.group][row], max_age)
        return None if reply is None else read_rows(view, [reply], answered.as_of_ns)

    def _default(self, service: str, place: Place) -> Any:
        defaults = self._defaults_of(service)
        if place.column in defaults:
            return defaults[place.column]
        # a feature list has no aliases; a service may have
        names = (other.column for other in places(self._plan.service(service)) if other.reference == place.reference)
        return next((defaults[name] for name in names if name in defaults), None)

    def _as_read(self, output: Output, answered: Answered) -> tuple[list[Any], list[str], list[str]]:
        if output.read is None:
            column, texts = answered.computed[output.position]
        else:
            view = answered.views[output.read]
            column, texts = view.columns[output.place.feature], [timestamp_text(t) for t in view.timestamps]
        statuses = [PRESENT] * answered.rows if column.statuses is None else list(column.statuses)
        return list(column.values), statuses, list(texts)

    # -- what is good -------------------------------------------------------------------------------------------------

    def keep(self, answered: Answered, bad_rows: Iterable[int], blocked: Iterable[Place]) -> None:
        """Keep the rows of an answer that are good, view by view."""
        skipped = set(bad_rows)
        named = {place.prefix for place in blocked}
        for index, read in enumerate(self._lookup.reads[: len(self._lookup.service.projections)]):
            if read.name in named:
                continue
            view = answered.views[index]
            pairs = zip(answered.keys[read.group], answered.replies[read.group], strict=True)
            if skipped or view.lists is None:
                rows = [p for row, p in enumerate(pairs) if row not in skipped and view.timestamps[row] is not None]
                self._last_good.keep(self._tokens[index], rows)
            else:
                self._last_good.keep(self._tokens[index], pairs)


def outputs_of(lookup: Lookup) -> tuple[Output, ...]:
    """The features of a look-up's answers, in order."""
    found: list[Output] = []
    names = iter(lookup.outputs)
    known = iter(places(lookup.service))
    for read, projection in enumerate(lookup.service.projections):
        for position in range(len(projection.features)):
            found.append(Output(len(found), next(names), next(known), read, position))
    stored = len(found)
    for position, (name, place) in enumerate(zip(names, known, strict=True)):
        found.append(Output(stored + position, name, place, None, position))
    return tuple(found)


def counted(replaced: Iterable[Replaced]) -> Counter[tuple[str, str]]:
    """Values that were sent instead, by service and kind."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in replaced:
        for kind in one.kinds.values():
            counts[one.wanted.service, kind] += 1
    return counts
