"""A suite as the server has it: for every rule what becomes of it there, and the compiled form of those that run.

Plain data, written as JSON beside the serving plan and read back without Great Expectations or pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skewguard.definitions import digest
from skewguard.errors import ConfigurationError
from skewguard.expectations.rows import reading
from skewguard.expectations.rows.checks import Node, read_check, read_condition
from skewguard.expectations.rows.fitting import misfit

FORMAT = 1
STATUSES = ("row", "nightly", "absent", "unsupported")
_SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class RowRule:
    """One rule of the suite, and what becomes of it on a request.

    ``status`` is row (checked), nightly (needs the batch; checked at training and every night), absent (a column is not
    served: a label, say) or unsupported (no row form whose answer is GX's). ``reason`` says why, and is empty for row.
    ``columns`` are all that the suite's rule names, those of its row condition included. ``check`` and ``condition``
    are set where the status is row.
    """

    position: int
    type: str
    columns: tuple[str, ...]
    severity: str
    mostly: float
    status: str
    reason: str
    notes: str
    label: str
    check: Node | None = None
    condition: Node | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """The columns that are wrong where the rule is violated: those of the check, not of the row condition."""
        return self.columns if self.check is None else self.check.columns

    def to_document(self) -> dict[str, Any]:
        """Plain JSON data."""
        told = {key: reading.plain(getattr(self, key)) for key in _RULE_KEYS[:-2]}
        return {
            **told,
            "check": None if self.check is None else self.check.to_json(),
            "condition": None if self.condition is None else self.condition.to_json(),
        }


_RULE_KEYS = ("position", "type", "columns", "severity", "mostly", "status", "reason", "notes", "label", "check",
              "condition")  # fmt: skip


@dataclass(frozen=True)
class RowSuite:
    """What becomes of a suite in the server.

    ``columns`` and ``dtypes`` are those that the ``row`` rules need, in the order in which ``RowValidator`` takes the
    values. ``suite_digest`` is the suite's; ``dtypes_digest`` covers all columns that were served when it was compiled.
    """

    name: str
    suite_digest: str
    dtypes_digest: str
    columns: tuple[str, ...]
    dtypes: tuple[str, ...]
    rules: tuple[RowRule, ...]

    @property
    def row_rules(self) -> tuple[RowRule, ...]:
        """The rules that are checked on a request; bit i of a mask is the i-th of them."""
        return tuple(rule for rule in self.rules if rule.status == "row")

    def to_document(self) -> dict[str, Any]:
        """Plain JSON data, with a digest of itself."""
        body = {
            "format": FORMAT,
            "name": self.name,
            "suite_digest": self.suite_digest,
            "dtypes_digest": self.dtypes_digest,
            "columns": list(self.columns),
            "dtypes": list(self.dtypes),
            "rules": [rule.to_document() for rule in self.rules],
        }
        return {**body, "digest": digest(body)}

    @classmethod
    def from_document(cls, data: Any) -> RowSuite:
        """Read and check a document whole. Imports neither GX nor pandas, and runs nothing of it.

        Raises ConfigurationError naming the place: another format, a digest that does not fit the content, an unknown
        operation or key, a value of the wrong type, a regular expression that does not compile, a rule that its
        columns' dtypes do not allow.
        """
        if isinstance(data, Mapping) and data.get("format") != FORMAT:
            raise reading.refuse("format", data.get("format"), f"{FORMAT}; compile the suite again")
        found = reading.mapping(data, "row rules", _SUITE_KEYS)
        if _digest(found) != found["digest"]:
            raise reading.refuse("digest", found["digest"], "that of the content; the file was changed or cut off")
        columns = reading.several(reading.text)(found["columns"], "columns")
        dtypes = reading.several(reading.text)(found["dtypes"], "dtypes")
        if len(set(columns)) != len(columns) or len(dtypes) != len(columns):
            raise reading.refuse("columns", list(columns), "names that differ, as many as dtypes")
        rules = reading.several(_rule)(found["rules"], "rules")
        by_name = dict(zip(columns, dtypes, strict=True))
        for index, rule in enumerate(rules):
            _require_fit(rule, by_name, f"rules[{index}]")
        return cls(
            name=reading.text(found["name"], "name"),
            suite_digest=reading.text(found["suite_digest"], "suite_digest"),
            dtypes_digest=reading.text(found["dtypes_digest"], "dtypes_digest"),
            columns=columns,
            dtypes=dtypes,
            rules=rules,
        )


_SUITE_KEYS = ("format", "name", "suite_digest", "dtypes_digest", "columns", "dtypes", "rules", "digest")


def _digest(data: Mapping[str, Any]) -> str:
    try:
        return digest({key: value for key, value in data.items() if key != "digest"})
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"row rules: not plain JSON data ({error}); compile the suite again.") from error


def _rule(data: Any, place: str) -> RowRule:
    found = reading.mapping(data, place, _RULE_KEYS)
    status = reading.one_of(*STATUSES)(found["status"], f"{place}.status")
    check, condition = found["check"], found["condition"]
    if (check is None) == (status == "row"):
        raise reading.refuse(f"{place}.check", check, "a check where the status is row, and null elsewhere")
    return RowRule(
        position=reading.count(found["position"], f"{place}.position"),
        type=reading.text(found["type"], f"{place}.type"),
        columns=reading.several(reading.text)(found["columns"], f"{place}.columns"),
        severity=reading.one_of(*_SEVERITIES)(found["severity"], f"{place}.severity"),
        mostly=reading.share(found["mostly"], f"{place}.mostly"),
        status=status,
        reason=reading.text(found["reason"], f"{place}.reason"),
        notes=reading.text(found["notes"], f"{place}.notes"),
        label=reading.text(found["label"], f"{place}.label"),
        check=None if check is None else read_check(check, f"{place}.check"),
        condition=None if condition is None else read_condition(condition, f"{place}.condition"),
    )


def _require_fit(rule: RowRule, dtypes: Mapping[str, str], place: str) -> None:
    for part, node in (("check", rule.check), ("condition", rule.condition)):
        why = None if node is None else misfit(node, dtypes)
        if why:
            raise ConfigurationError(f"{place}.{part}: {why}.")
