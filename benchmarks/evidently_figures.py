"""What Evidently says of the frames on which our measures are tested: ``python -m benchmarks.evidently_figures``.

Writes tests/drift/evidently_figures.json, so that the agreement is tested where Evidently is not installed, too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import warnings
from pathlib import Path

TESTS = {"num": ("psi", "jensenshannon", "ks", "wasserstein"), "cat": ("psi", "jensenshannon", "chisquare")}


def figures() -> dict[str, dict[str, float]]:
    """By frame and test, Evidently's drift score."""
    os.environ["DO_NOT_TRACK"] = "1"
    import pandas as pd

    from tests.drift.test_measures import frames

    found: dict[str, dict[str, float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import get_stattest
        from evidently.legacy.core import ColumnType

        for name, sides in frames().items():
            a, b = (pd.Series(side) for side in sides)
            kind = ColumnType.Categorical if a.dtype == object else ColumnType.Numerical
            found[name] = {
                test: float(get_stattest(a, b, kind, test)(a, b, kind, None).drift_score) for test in TESTS[kind.value]
            }
    return found


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "tests" / "drift" / "evidently_figures.json"
    told = {"evidently": importlib.metadata.version("evidently"), "figures": figures()}
    path.write_text(json.dumps(told, indent=2) + "\n")
