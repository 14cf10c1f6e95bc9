"""The one door to Great Expectations: imported on first use, with telemetry and progress bars off before it loads.

Importing it takes seconds and some 150 MB, so nothing on a request path may come here. GX 1.24 has no analytics code
left, but the setting is read by older releases of the same line, and a variable that the user set himself stays.
"""

from __future__ import annotations

import os
from functools import cache
from types import SimpleNamespace

_QUIET = {"GX_ANALYTICS_ENABLED": "false", "TQDM_DISABLE": "1"}


def quieten() -> None:
    """Telemetry and progress bars off, in as far as the environment says nothing else. Before GX is imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@cache
def load() -> SimpleNamespace:
    """GX's parts that skewguard uses.

    ``Configuration`` is ExpectationConfiguration, ``Engine`` PandasExecutionEngine, ``Validator`` GX's validator with
    progress bars off, ``Result`` and ``SuiteResult`` its validation results, ``known()`` the sorted names of all
    registered expectations, ours among them, ``version`` its version.
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

    class QuietValidator(Validator):  # type: ignore[misc]
        """GX's validator draws progress bars unless a Data Context forbids it; ours has none (engine.py says why)."""

        def _determine_progress_bars(self) -> bool:
            return False

    return SimpleNamespace(
        Configuration=ExpectationConfiguration,
        Engine=PandasExecutionEngine,
        Validator=QuietValidator,
        Result=ExpectationValidationResult,
        SuiteResult=ExpectationSuiteValidationResult,
        NotFoundError=ExpectationNotFoundError,
        known=lambda: sorted(list_registered_expectation_implementations()),
        version=__version__,
    )
