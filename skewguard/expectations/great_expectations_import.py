"""The one door to Great Expectations: imported on first use, with telemetry and progress bars off.

Importing it takes seconds and some 150 MB, so nothing on a request path may come here. GX 1.24 has no analytics code
left, but the setting is read by older releases of the same line, and a variable that the user set himself stays.

GX asks for progress bars outright in three places that no setting reaches (two classes ``Batch``, the expectation on
the Kullback-Leibler divergence), and tqdm's own environment variable is only a default, which they overrule. All of
them come from one name in one of its modules, which is bound to a bar that never draws; others keep their bars.
"""

from __future__ import annotations

import os
from functools import cache
from types import SimpleNamespace
from typing import Any


def quieten() -> None:
    """Telemetry off, unless the environment says otherwise. Before GX is imported."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")


def _without_bars() -> None:
    from great_expectations.validator import validation_graph

    class NoBar(validation_graph.tqdm):  # type: ignore[misc]
        """tqdm's bar, which does not draw whatever it is told."""

        def __init__(self, *args: Any, **how: Any) -> None:
            super().__init__(*args, **{**how, "disable": True})

    validation_graph.tqdm = NoBar


@cache
def load() -> SimpleNamespace:
    """GX's parts that skewguard uses.

    ``Configuration`` is ExpectationConfiguration, ``Engine`` PandasExecutionEngine, ``Validator`` GX's validator,
    ``Result`` and ``SuiteResult`` its validation results, ``known()`` the sorted names of all registered expectations,
    ours among them, ``version`` its version.
    """
    quieten()

    import great_expectations.expectations  # noqa: F401  (registers the expectations)
    from great_expectations import __version__
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations
    from great_expectations.validator.validator import Validator

    import skewguard.expectations.skew  # noqa: F401  (registers ours)

    _without_bars()
    return SimpleNamespace(
        Configuration=ExpectationConfiguration,
        Engine=PandasExecutionEngine,
        Validator=Validator,
        Result=ExpectationValidationResult,
        SuiteResult=ExpectationSuiteValidationResult,
        NotFoundError=ExpectationNotFoundError,
        known=lambda: sorted(list_registered_expectation_implementations()),
        version=__version__,
    )
