"""The exceptions of skewguard: one small tree, each class also the fitting builtin.

    SkewguardError
    |-- ConfigurationError (ValueError)      exit 2   a file, flag or definition is wrong
    |   |-- RepositoryError                  the Feast repository cannot be opened
    |   |-- PolicyError                      skewguard.yaml is wrong
    |   |-- UnsupportedSourceError           a source that the offline store cannot read
    |   `-- SuiteError                       an expectation suite cannot be used
    |-- UnknownNameError (LookupError)       exit 2   no such service, view, feature, entity, key
    |-- BadInputError (ValueError)           exit 2   a value that the caller gave is wrong
    |-- StoreUnavailableError (ConnectionError) exit 3   Redis or a file is down, refused or broke off
    |-- GateBlocked (RuntimeError)      exit 1   the gate refused; carries the findings
    `-- CorruptValueError (ValueError)       bytes in the online store that do not decode

A message says which field, what came, what would be right, and the nearest name; the parts stay as attributes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skewguard.findings import Finding


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``name`` (difflib ratio of at least 0.6), or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _listing(names: Iterable[str], limit: int = 8) -> str:
    names = sorted(names)
    if not names:
        return "none"
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


class SkewguardError(Exception):
    """Base of every error that skewguard raises on purpose."""

    exit_code = 2


class ConfigurationError(SkewguardError, ValueError):
    """A file, a flag or a definition is wrong; nothing was done."""


class RepositoryError(ConfigurationError):
    """The Feast repository cannot be opened: feature_store.yaml, registry or definitions."""


class PolicyError(ConfigurationError):
    """skewguard.yaml does not hold: the key, what came, what would be right."""


class UnsupportedSourceError(ConfigurationError):
    """A feature view's source is of a kind that the ASOF store does not read."""


class SuiteError(ConfigurationError):
    """An expectation suite cannot be loaded or run: the file, the expectation, the fix."""


class UnknownNameError(SkewguardError, LookupError):
    """No such feature service, feature view, feature, entity or join key.

    Attributes: ``kind`` (for example "feature service"), ``name``, ``known``, ``suggestion``.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known: tuple[str, ...] = tuple(known)
        self.suggestion = nearest(name, self.known)
        hint = f" Did you mean {self.suggestion!r}?" if self.suggestion else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {_listing(self.known)}.")


class BadInputError(SkewguardError, ValueError):
    """A value that the caller gave is wrong. ``field`` names it.

    Build with ``BadInputError(field, got, expected)``; the message reads
    "<field>: got <got>; expected <expected>."
    """

    def __init__(self, field: str, got: str, expected: str) -> None:
        self.field = field
        self.got = got
        self.expected = expected
        super().__init__(f"{field}: got {got}; expected {expected}.")


class StoreUnavailableError(SkewguardError, ConnectionError):
    """A store is down, refused us, or broke off. ``store`` names it without secrets."""

    exit_code = 3

    def __init__(self, store: str, reason: str, advice: str = "") -> None:
        self.store = store
        self.reason = reason
        super().__init__(f"{store}: {reason}." + (f" {advice}" if advice else ""))


class CorruptValueError(SkewguardError, ValueError):
    """Bytes in the online store that do not decode as a Feast value; kept as ``raw``."""

    def __init__(self, raw: bytes, reason: str) -> None:
        self.raw = raw
        self.reason = reason
        super().__init__(f"cannot decode {raw[:32].hex()}{'...' if len(raw) > 32 else ''}: {reason}")


_NEXT = {
    "training": "\nMend what is named and check again; to train all the same, say why: --allow REASON, or allow=..., "
    "which is kept in the contract."
}


class GateBlocked(SkewguardError, RuntimeError):  # noqa: N818  (the documented name: a refusal, no mistake)
    """The gate refused training or serving. ``findings`` and ``reasons`` say why, ``verdict`` how."""

    exit_code = 1

    def __init__(
        self, stage: str, service: str, verdict: str, reasons: Sequence[str], findings: Sequence[Finding] = ()
    ) -> None:
        self.stage = stage
        self.service = service
        self.verdict = verdict
        self.reasons = tuple(reasons)
        self.findings = tuple(findings)
        lines = "".join(f"\n  - {reason}" for reason in self.reasons)
        super().__init__(f"The {stage} gate of {service!r} is closed (verdict {verdict}):{lines}{_NEXT.get(stage, '')}")
