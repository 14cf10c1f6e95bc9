"""A feature store with a training-serving skew guard: Feast definitions, DuckDB offline, Redis online.

The public names are imported on first use, so that ``import skewguard`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skewguard.contract import FeatureContract
    from skewguard.errors import GateBlocked, SkewguardError
    from skewguard.findings import Cause, Finding, Run, Verdict
    from skewguard.guard import SkewGuard
    from skewguard.training_set import TrainingSet

__all__ = [
    "Cause",
    "FeatureContract",
    "Finding",
    "GateBlocked",
    "Run",
    "SkewGuard",
    "SkewguardError",
    "TrainingSet",
    "Verdict",
]
__version__ = "0.1.0"

_HOMES = {
    "Cause": "findings",
    "FeatureContract": "contract",
    "Finding": "findings",
    "GateBlocked": "errors",
    "Run": "findings",
    "SkewGuard": "guard",
    "SkewguardError": "errors",
    "TrainingSet": "training_set",
    "Verdict": "findings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'skewguard' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"skewguard.{_HOMES[name]}"), name)
