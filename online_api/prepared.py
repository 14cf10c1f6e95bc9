"""A look-up with all that every one of its requests needs: gates, row rules, fallbacks, the log; worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from online_api.fallbacks import Fallbacks
from online_api.last_good import LastGood
from online_api.lookup import Lookup, prepare
from online_api.passage import RequestGate, ServingGates
from online_api.problems import UnsupportedFeatureError
from online_api.row_checks import RowCheck, row_check
from online_api.served_log import Recorder, ServedLog
from online_api.settings import Settings
from online_api.verdicts import Verdicts
from skewguard.blocked import Place
from skewguard.definitions import FieldDef
from skewguard.expectations.rows.rate import RateWindow
from skewguard.expectations.rows.suite import RowRule, RowSuite
from skewguard.plan import ServingPlan

PREPARED = 1024
"""Look-ups kept prepared: one for each distinct service or feature list."""


@dataclass(frozen=True)
class Prepared:
    """A look-up and what every one of its requests needs; worked out once.

    Attributes:
        gate: the gates that it passes.
        checks: the row rules that it is asked, by service.
        fallbacks: finds other values for its features.
        keeps_good: its good rows are kept, because a fallback may ask for them.
        recorder: makes its records; None where it is not logged.
        needed, wanted: its join keys and its request data, by entity-row column.
        known: the columns that a request may have: these, and the join keys and request data of other services.
        keep_expired: values past their TTL are sent.
        names: the metadata of an answer to a request without further columns, as JSON.
    """

    lookup: Lookup
    gate: RequestGate
    checks: tuple[RowCheck, ...]
    fallbacks: Fallbacks
    keeps_good: bool
    recorder: Recorder | None
    needed: Mapping[str, FieldDef]
    wanted: Mapping[str, FieldDef]
    known: frozenset[str]
    keep_expired: bool
    names: orjson.Fragment


class Preparing:
    """Prepares the look-ups of one plan, which share good rows and the windows of rules."""

    def __init__(
        self, settings: Settings, plan: ServingPlan, verdicts: Verdicts, log: ServedLog, rules: Mapping[str, RowSuite]
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._verdicts = verdicts
        self._log = log
        self._rules = rules
        self._gates = ServingGates(settings, plan, verdicts)
        self._last_good = LastGood()
        self._windows: dict[tuple[str, tuple[int, ...]], RateWindow] = {}

    def windows(self) -> Iterator[tuple[str, RateWindow]]:
        """The windows of policy ``rate``, each with its service."""
        for (service, _), window in list(self._windows.items()):
            yield service, window

    def prepare(self, service: str | None, features: tuple[str, ...], full: bool) -> Prepared:
        """The look-up of a feature service, or of a feature list where ``service`` is None.

        Raises UnknownNameError, BadInputError, UnsupportedFeatureError.
        """
        definition = self._plan.feature_list(features) if service is None else self._plan.service(service)
        for view in definition.on_demand:
            if view.name in self._plan.unsupported:
                reason = self._plan.unsupported[view.name]
                raise UnsupportedFeatureError(f"On-demand feature view {view.name!r} cannot be served: {reason}.")
        lookup = prepare(self._plan.project, definition, full)
        needed = {column.name: column for column in lookup.key_columns}
        wanted = {field.name: field for field in definition.request_fields}
        gate = self._gates.of(definition)
        fallbacks = Fallbacks(lookup, self._last_good, self._settings.policy, self._verdicts.defaults, self._plan)
        return Prepared(
            lookup,
            gate,
            self._checks(gate, lookup, fallbacks),
            fallbacks,
            any(self._may_replace(name, output.place) for name in gate.services for output in fallbacks.outputs),
            self._log.recorder(lookup, features, self._plan.digest),
            needed,
            wanted,
            frozenset([*needed, *wanted, *self._plan.key_columns, *self._plan.request_columns]),
            self._settings.policy(service or "").expired == "annotate",
            orjson.Fragment(orjson.dumps({"feature_names": [*needed, *lookup.outputs]})),
        )

    def _checks(self, gate: RequestGate, lookup: Lookup, fallbacks: Fallbacks) -> tuple[RowCheck, ...]:
        found = []
        for name in gate.services:
            suite, policy = self._rules.get(name), self._settings.policy(name)
            if suite is not None and not policy.is_off:
                asked = self._plan.service(name), lookup.service, fallbacks.outputs, lookup.reads
                check = row_check(suite, *asked, policy, self._window)
                found += [check] if check is not None else []
        return tuple(found)

    def _window(self, service: str, rules: Sequence[RowRule]) -> RateWindow:
        """The window of some rules of a service: one for all look-ups that are asked just these."""
        policy = self._settings.policy(service)
        key = service, tuple(rule.position for rule in rules)
        if key not in self._windows:
            self._windows[key] = RateWindow(rules, policy.row_window.total_seconds(), policy.row_min_rows)
        return self._windows[key]

    def _may_replace(self, service: str, place: Place) -> bool:
        """May the last known good value of a feature be asked for?"""
        policy = self._settings.policy(service)
        return policy.serving_of(place.reference) == "fallback" and "last_known_good" in policy.fallbacks_of(
            place.reference
        )
