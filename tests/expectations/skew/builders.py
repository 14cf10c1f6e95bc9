"""Skew expectations as any user of GX runs them: a context, a validation definition, results as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skewguard.expectations import skew  # before GX, whose progress bars it turns off  # isort: skip

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig


def context(folder: Path | None = None) -> Any:
    """A file context in a folder, else an ephemeral one; its progress bars off."""
    made = gx.get_context(mode="ephemeral") if folder is None else gx.get_context(mode="file", project_root_dir=folder)
    made.variables.progress_bars = ProgressBarsConfig(globally=False)
    if folder is not None:
        made.variables.save()
    return made


def definition(made: Any, *expectations: Any, name: str = "s") -> Any:
    """A validation definition of these expectations, on a data source of its own."""
    source = made.data_sources.add_pandas(name).add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    suite = made.suites.add(gx.ExpectationSuite(name, expectations=list(expectations)))
    return made.validation_definitions.add(gx.ValidationDefinition(name=name, data=source, suite=suite))


def run(frame: pd.DataFrame, *expectations: Any, result_format: Any = "SUMMARY", **more: Any) -> list[dict[str, Any]]:
    """The results of the expectations on a frame, as strict JSON gives them back, in their order."""
    numbered = [expectation.copy(update={"meta": {"place": i}}) for i, expectation in enumerate(expectations)]
    found = definition(context(), *numbered).run(
        batch_parameters={"dataframe": frame}, result_format=result_format, **more
    )
    results = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))["results"]
    ordered: list[dict[str, Any]] = sorted(results, key=lambda r: r["expectation_config"]["meta"]["place"])
    for result in ordered:
        assert type(result["success"]) is bool
    return ordered


def one(frame: pd.DataFrame, expectation: Any, **more: Any) -> dict[str, Any]:
    """The result of one expectation, which did not break."""
    (result,) = run(frame, expectation, **more)
    assert trouble(result) == "", trouble(result)
    return result


def trouble(result: dict[str, Any]) -> str:
    """What an expectation raised; empty where it did not."""
    info = result["exception_info"]
    items = [info] if "raised_exception" in info else list(info.values())
    return "; ".join(str(item["exception_message"]) for item in items if item["raised_exception"])


__all__ = ["context", "definition", "one", "run", "skew", "trouble"]
