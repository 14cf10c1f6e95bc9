"""The contract against what is served: a model was trained under definitions that the serving plan must still have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skewguard.contract import FeatureContract
from skewguard.errors import ConfigurationError
from skewguard.findings import Verdict


@dataclass(frozen=True)
class Promise:
    """What the contract says of the plan: "pass" where it holds (or there is none), else the reasons; its digest.

    ``defaults``: what it gives in place of features, by full feature name.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    contract: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


def check_promise(path: Path, fingerprints: Mapping[str, str]) -> Promise:
    """Compare the contract at ``path`` with the plan's fingerprints, view by view.

    Without a contract nothing was promised. One that cannot be read is inconclusive; a view that differs blocks.
    """
    if not path.is_file():
        return Promise(Verdict.PASS)
    try:
        contract = FeatureContract.load(path)
    except ConfigurationError as error:
        return Promise(Verdict.INCONCLUSIVE, (f"the contract cannot be used: {error}",))
    changed = [name for name, digest in contract.fingerprints.items() if fingerprints.get(name) != digest]
    if not changed:
        return Promise(Verdict.PASS, (), contract.digest, contract.defaults)
    names = ", ".join(sorted(changed))
    return Promise(
        Verdict.BLOCK,
        (f"the definitions of {names} are not those of the contract {contract.digest[:12]}: train again, or apply "
         "the definitions of the contract",),
        contract.digest,
        contract.defaults,
    )  # fmt: skip
