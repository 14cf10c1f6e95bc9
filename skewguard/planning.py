"""Writes the serving plan of a repository: its definitions, and what the suites ask of each row, in one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skewguard.errors import ConfigurationError, StoreUnavailableError
from skewguard.plan import ServingPlan, compile_plan, load_plan, save_plan
from skewguard.row_rules import compile_row_rules

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo


def write_plan(repo: FeastRepo, path: Path, unchanged: Callable[[], bool] = lambda: True) -> ServingPlan:
    """Compile the plan and save it, whole or not at all.

    A suite that cannot be used leaves the one in force in force; its rules say so (``ServiceRules.problem``). Raises
    what ``compile_plan`` raises, and StoreUnavailableError where the sources are not ``unchanged`` at the end: Feast
    does not write a registry in one piece, and an editor not a suite.
    """
    compiled = compile_plan(repo)
    try:
        before = load_plan(path).row_rules
    except ConfigurationError:  # no plan yet, or none that can be read: nothing is in force
        before = {}
    plan = replace(compiled, row_rules=compile_row_rules(repo.path, compiled, before))
    if not unchanged():
        raise StoreUnavailableError(f"the registry or a suite of {repo.path}", "it was written while it was read")
    save_plan(plan, path)
    return plan
