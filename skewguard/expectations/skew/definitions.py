"""ExpectDefinitionsUnchanged: are the service's definitions those of the contract?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from great_expectations.compatibility.pydantic import Field

from skewguard.compare.frame import DEFINITIONS
from skewguard.contract import FeatureContract, changed_parts
from skewguard.errors import BadInputError
from skewguard.expectations.skew import arguments
from skewguard.expectations.skew.base import SkewBatchExpectation, judge


class ExpectDefinitionsUnchanged(SkewBatchExpectation):
    """Expect the definitions of a feature service, which a comparison frame carries, to be those of a contract.

    Compared are the parts under every view's fingerprint (entities, source, field mapping, TTL, dtypes, on-demand
    source text), how the service reads its views, and its outputs in order; ``column`` is the frame's
    ``__definitions``. ``observed_value`` is the number of parts
    that differ, ``changed`` names each with both values. Of no rows it does not hold, and says so in ``inconclusive``.

    ``promise``: what the contract says (``FeatureContract.promise``); it stays in the suite (``of_contract`` takes it
    from one). Left out, only skewguard's nightly check can judge, by the contract in force.
    """

    column: str = Field(min_length=1)
    promise: dict[str, Any] | None = None

    _promise = arguments.checked("promise", by=arguments.promise)

    success_keys: ClassVar[tuple[str, ...]] = ("column", "promise")
    args_keys: ClassVar[tuple[str, ...]] = ("column",)

    class Config:  # noqa: D106
        title = "Expect definitions unchanged"

    @classmethod
    def of_contract(cls, contract: FeatureContract, **kwargs: Any) -> Any:
        """The expectation that the definitions are those of a contract."""
        return cls(column=DEFINITIONS, promise=contract.promise, **kwargs)

    def columns_needed(self) -> list[str]:
        """The definitions as JSON."""
        return [self.column]

    def judged(self, frame: Any) -> tuple[bool, dict[str, Any]]:
        """What changed, part by part."""
        if self.promise is None:
            raise BadInputError("promise", "none", "a contract's promise; ExpectDefinitionsUnchanged.of_contract")
        found = frame[self.column].unique().tolist()
        if not found:
            return False, {"observed_value": None, "changed": [], "inconclusive": "no rows, so no definitions"}
        changes: dict[str, dict[str, Any]] = {}
        for text in found:
            for path, before, now in changed_parts(self.promise, _parts(text, self.column)):
                changes.setdefault(path, {"path": path, "contract": before, "now": now})
        return not changes, {"observed_value": len(changes), "changed": list(changes.values())}

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        del runtime_configuration, execution_engine
        return judge(self, metrics)

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected."""
        del arguments
        return "The service's definitions ($column) must be those of the contract."

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen."""
        names = [item["path"].removeprefix("definitions.") for item in result["changed"]]
        return f"{len(names)} changed: {', '.join(names[:5])}" if names else "unchanged"


def _parts(text: Any, column: str) -> Mapping[str, Any]:
    try:
        parts = json.loads(text)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"column {column!r}", repr(text)[:80], "definitions as JSON") from error
    if not isinstance(parts, Mapping):
        raise BadInputError(f"column {column!r}", repr(text)[:80], "definitions as a JSON mapping")
    return parts
