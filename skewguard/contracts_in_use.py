"""Which contracts a feature service is held to: the latest training set's, and those of models that policy names."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from skewguard.contract import FeatureContract
from skewguard.errors import ConfigurationError

if TYPE_CHECKING:
    from skewguard.workspace import Workspace

LATEST = "the latest training set"


def contracts_in_use(workspace: Workspace, service: str) -> dict[str, FeatureContract]:
    """By name (``LATEST``, or the file as policy names it), each promise once: the latest one goes before a model's.

    Policy's ``contracts`` are files or patterns, relative to the repository; contracts of other services are left out.
    Raises ConfigurationError for a pattern that nothing fits, and for a file that is no contract.
    """
    found: dict[str, FeatureContract] = {}
    latest = workspace.state.contract(service)
    if latest is not None:
        found[LATEST] = latest
    for pattern in workspace.policy_for(service).contracts:
        # joined with an absolute pattern, the repository is left out
        paths = sorted(p for p in glob.glob(str(workspace.path / pattern), recursive=True) if os.path.isfile(p))
        if not paths:
            raise ConfigurationError(
                f"{workspace.policy.origin}: contracts: no file fits {pattern!r} (from {workspace.path}); a training "
                "set is saved with its contract beside it, and so is a model."
            )
        for path in paths:
            contract = FeatureContract.load(Path(path))
            if contract.service == service and all(contract.digest != other.digest for other in found.values()):
                found[os.path.relpath(path, workspace.path)] = contract
    return found
