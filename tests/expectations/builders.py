"""Suites as JSON documents, for tests."""

from typing import Any


def entry(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {}, "severity": severity}


def between(column: str = "x", **kwargs: Any) -> dict[str, Any]:
    return entry("expect_column_values_to_be_between", column=column, **kwargs)


def document(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"name": "suite", "expectations": list(entries), **more}
