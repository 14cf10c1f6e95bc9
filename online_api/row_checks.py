"""Row rules on answers: which rules a look-up's values must keep, and what is done where they do not. docs/gates.md.

A rule is judged on the values as they are stored, nulls included: a value that is not found, expired or does not decode
is null to a model, and so it is to a rule. A rule that raises is broken; that is told, and is never held against data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from online_api.fallbacks import Output, Wanted
from online_api.lookup import ViewColumns, ViewRead
from online_api.many_rows import ManyRows
from online_api.row_values import RowValues, Source, in_order
from online_api.settings import ServingPolicy
from skewguard.blocked import places
from skewguard.definitions import ServiceDef
from skewguard.errors import SkewguardError
from skewguard.expectations.rows.rate import RateWindow
from skewguard.expectations.rows.suite import RowRule, RowSuite
from skewguard.expectations.rows.validator import RowValidator

MOST_ROWS, MOST_RULES = 100, 50
"""Rows of a rule, and rules, that an answer or a problem lists."""


@dataclass(frozen=True)
class RuleUse:
    """A rule on a look-up.

    Attributes:
        service: whose suite it is of.
        rule: the rule.
        done: what is done where it fails: "reject", "fallback", "annotate" or "count".
        outputs: the features that are sent another value, by their place in the answer.
    """

    service: str
    rule: RowRule
    done: str
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A rule that failed, or broke, in some rows (all of them, in order); ``error`` is what it raised."""

    use: RuleUse
    rows: tuple[int, ...]
    done: str
    error: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON data: which rule on which features, in how many rows and which ones, and what was done."""
        rule = self.use.rule
        found: dict[str, Any] = {"service": self.use.service, "rule": rule.label, "severity": rule.severity}
        found |= {"features": list(rule.subjects), "count": len(self.rows), "rows": list(self.rows[:MOST_ROWS])}
        return found | ({"done": self.done} if self.error is None else {"error": self.error})


@dataclass(frozen=True)
class Alarm:
    """A rule whose share of values as expected is below its ``mostly``, over the window of policy ``rate``."""

    use: RuleUse
    share: float
    judged: int

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        rule = self.use.rule
        found = {"service": self.use.service, "rule": rule.label, "features": list(rule.subjects)}
        return {**found, "mostly": rule.mostly, "share": self.share, "judged": self.judged}


@dataclass
class Outcome:
    """What became of the rules on an answer. ``bad_rows``: those in which a rule failed or broke."""

    failed: list[Failure] = field(default_factory=list)
    broken: list[Failure] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    bad_rows: set[int] = field(default_factory=set)

    @property
    def annotated(self) -> list[Failure]:
        """What an answer tells of: not what is only counted."""
        return [one for one in self.failed if one.done != "count"]

    def told(self) -> dict[str, Any]:
        """As the metadata of an answer has it."""
        parts: dict[str, Sequence[Failure | Alarm]] = {
            "failed": self.annotated, "broken": self.broken, "alarms": self.alarms,
        }  # fmt: skip
        return {name: [one.told() for one in found[:MOST_RULES]] for name, found in parts.items() if found}

    def summary(self) -> str:
        """For a header: how many rules failed (at least annotated), broke and alarm; empty where none did."""
        counts = {"failed": len(self.annotated), "broken": len(self.broken), "alarms": len(self.alarms)}
        return ", ".join(f"{name}={count}" for name, count in counts.items() if count)

    def refuse(self) -> None:
        """Raise ExpectationsFailedError where a rule that failed says so."""
        rejecting = [one for one in self.failed if one.done == "reject"]
        if rejecting:
            raise ExpectationsFailedError(rejecting)

    def wanted(self) -> dict[int, Wanted]:
        """The features that need another value, by their place in the answer."""
        found: dict[int, Wanted] = {}
        for one in self.failed:
            if one.done == "fallback":
                for output in one.use.outputs:
                    found.setdefault(output, Wanted(one.use.service, "expectations")).rows.update(one.rows)
        return found


class ExpectationsFailedError(SkewguardError):
    """Values of the online store fail expectations that policy lets refuse a request: ``failed`` names them."""

    def __init__(self, failed: Sequence[Failure]) -> None:
        self.failed = tuple(failed)
        lines = [f"{one.use.rule.label} in {_rows(one.rows)}" for one in self.failed[:3]]
        more = f", and {len(self.failed) - 3} more" if len(self.failed) > 3 else ""
        super().__init__(f"{self.failed[0].use.service}: values fail expectations: {'; '.join(lines)}{more}.")


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:5]))
    return f"row {shown}" if len(rows) == 1 else f"{len(rows)} rows ({shown}{', ...' if len(rows) > 5 else ''})"


class RowCheck:
    """The rules of one service's suite that one prepared look-up can be asked.

    Of a feature list these are the rules all of whose columns are in it. ``window`` counts for policy ``rate``.
    """

    def __init__(
        self,
        uses: Sequence[RuleUse],
        suite: RowSuite,
        sources: Sequence[Source],
        reads: Sequence[ViewRead],
        window: Callable[[Sequence[RowRule]], RateWindow] | None,
    ) -> None:
        ordered = in_order(sources)
        columns, dtypes = tuple(s.column for s in ordered), tuple(s.dtype for s in ordered)
        asked = replace(suite, columns=columns, dtypes=dtypes)
        self._validator = RowValidator(asked)
        self._many = ManyRows(asked, ordered, reads)
        self._values = RowValues(ordered)
        self._uses = tuple(uses)
        self.service = uses[0].service
        self.window = None if window is None else window(self._validator.rules)

    def masks(self, rows: int, views: Sequence[ViewColumns], *others: Any) -> Mapping[int, int]:
        """By row the mask of what is wrong; nothing for rows in which all is well. Values as RowValues takes them."""

        def columns() -> list[Sequence[Any]]:
            return self._values.columns(views, *others)

        if self.window is not None:
            bad, skipped = self._validator.tally_columns(columns(), rows)
            self.window.add(rows, bad.values(), skipped.values())
            return bad
        if rows == 1:
            mask = self._validator.check([column[0] for column in columns()])
            return {0: mask} if mask else _NONE
        if self._many.all_well(views, columns, rows):
            return _NONE
        return self._validator.check_columns(columns(), rows)

    def explain(self, masks: Mapping[int, int], overridden: bool, outcome: Outcome) -> None:
        """Add what the masks of bad rows mean."""
        width = len(self._uses)
        by_bit: dict[int, list[int]] = {}
        for row, mask in masks.items():
            for bit in _bits(mask):
                by_bit.setdefault(bit, []).append(row)
        outcome.bad_rows.update(masks)
        for bit, rows in sorted(by_bit.items()):
            use = self._uses[bit % width]
            if bit >= width:
                error = self._validator.broken.get(use.rule.position, "it raised")
                outcome.broken.append(Failure(use, tuple(sorted(rows)), "annotate", error))
            else:
                outcome.failed.append(Failure(use, tuple(sorted(rows)), self._done(use, overridden)))

    def _done(self, use: RuleUse, overridden: bool) -> str:
        if self.window is not None:
            return "count"  # a single value says nothing; the window's alarms do
        return "annotate" if overridden and use.done in ("reject", "fallback") else use.done

    def alarms(self) -> Iterator[Alarm]:
        """The rules that alarm now."""
        if self.window is not None and self.window.alarms:
            for use, state in zip(self._uses, self.window.state(), strict=True):
                if state.alarm and state.share is not None and use.done != "count":
                    yield Alarm(use, state.share, state.judged)


_NONE: Mapping[int, int] = {}


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def row_check(
    suite: RowSuite,
    service: ServiceDef,
    request: ServiceDef,
    outputs: Sequence[Output],
    reads: Sequence[ViewRead],
    policy: ServingPolicy,
    window: Callable[[str, Sequence[RowRule]], RateWindow],
) -> RowCheck | None:
    """The check of a look-up by a service's rules; None where none of them is to be asked."""
    found = _sources(service, request, outputs, reads)
    about = {name: _about(source, request, outputs, reads) for name, source in found.items()}
    uses = []
    for rule in suite.row_rules:
        if all(column in found for column in rule.columns):
            use = _use(rule, service.name, about, policy)
            if use is not None:
                uses.append(use)
    if not uses:
        return None
    rules = tuple(use.rule for use in uses)
    needed = dict.fromkeys(
        column for rule in rules for node in (rule.check, rule.condition) if node is not None for column in node.columns
    )
    counted = (lambda kept: window(service.name, kept)) if policy.row_policy == "rate" else None
    return RowCheck(uses, replace(suite, rules=rules), [found[column] for column in needed], reads, counted)


def _use(rule: RowRule, service: str, about: Mapping[str, Sequence[Output]], policy: ServingPolicy) -> RuleUse | None:
    """What is done where a rule fails; None where nothing is, so that it need not be asked.

    A rule on several columns is about each of them, and about what is computed from them. Join keys and request data
    are the caller's: there is no other value for them, and ``serving`` of the service holds.
    """
    gates = {
        output.index: policy.serving_of(output.place.reference) for column in rule.subjects for output in about[column]
    }
    named = set(gates.values())
    if not all(about[column] for column in rule.subjects):
        named.add(policy.serving)
    action = policy.severities.get(rule.severity, "block")
    if named == {"off"}:
        return None
    if action == "ignore":
        return RuleUse(service, rule, "count")
    if action == "warn":
        return RuleUse(service, rule, "annotate")
    if "reject" in named:
        return RuleUse(service, rule, "reject")
    replaced = tuple(sorted(index for index, gate in gates.items() if gate == "fallback"))
    return RuleUse(service, rule, "fallback" if replaced else "annotate", replaced)


def _about(
    source: Source, request: ServiceDef, outputs: Sequence[Output], reads: Sequence[ViewRead]
) -> tuple[Output, ...]:
    """The features of a look-up that are wrong where a value is: the value's own, and those computed from it."""
    if source.kind == "computed":
        return tuple(o for o in outputs if o.read is None and o.position == source.position)
    if source.kind != "stored":
        return ()
    view = reads[source.read].view
    computed = {
        od.name
        for od in request.on_demand
        if any(p.view.name == view and any(f.name == source.name for f in p.features) for p in od.inputs)
    }
    return tuple(
        o
        for o in outputs
        if (o.place.view in computed if o.read is None else (o.read, o.position) == (source.read, source.position))
    )


def _sources(
    service: ServiceDef, request: ServiceDef, outputs: Sequence[Output], reads: Sequence[ViewRead]
) -> dict[str, Source]:
    """Where the columns of a service's suite are in a look-up, by every name that a suite may use for them.

    A feature that is read as the input of an on-demand view, and not asked for, is among them.
    """
    alone = bool(request.name)
    hidden = {
        f"{read.view}:{feature.name}": (number, position)
        for number, read in enumerate(reads)
        for position, (feature, _) in enumerate(read.features)
        if number >= len(request.projections)
    }
    of_request = {(o.place if alone else o.place.reference): o for o in outputs}
    short = [f.name for f in service.outputs()]
    found = {f.name: Source(f.name, f.dtype, "request", f.name) for f in request.request_fields}
    found |= {f.name: Source(f.name, f.dtype, "key", f.name) for f in request.join_keys}
    features = zip(places(service), service.outputs(), service.outputs(full_feature_names=True), strict=True)
    for place, by_short, by_full in features:
        output = of_request.get(place if alone else place.reference)
        if output is not None:
            kind, read, position = ("computed" if output.read is None else "stored"), output.read or 0, output.position
        elif place.reference in hidden:
            kind, (read, position) = "stored", hidden[place.reference]
        else:
            continue
        for name in (by_short.name,) * (short.count(by_short.name) == 1) + (by_full.name,):
            found[name] = Source(name, by_full.dtype, kind, place.feature, read, position)
    return found
