"""On-demand feature views in answers: the one part of serving that needs Feast, imported only when the plan has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_api.lookup import NULL_VALUE, PRESENT, Column
from online_api.problems import TransformFailedError
from online_api.values import json_value
from skewguard.definitions import OnDemandDef
from skewguard.online.on_demand import OnDemandEngine
from skewguard.online.values import decode_value

if TYPE_CHECKING:
    from skewguard.plan import ServingPlan


class OnDemandViews:
    """Feast's on-demand views of a plan, ready to run. Opening them imports Feast (seconds).

    Raises UnknownNameError when the registry no longer has a view of the plan.
    """

    def __init__(self, repo: Path, plan: ServingPlan) -> None:
        from skewguard.feast_repo import FeastRepo

        supported = [definition for definition in plan.on_demand if definition.name not in plan.unsupported]
        self._engine = OnDemandEngine(FeastRepo(repo), supported)

    def run(
        self,
        definition: OnDemandDef,
        inputs: Mapping[tuple[str, str], Sequence[bytes]],
        others: Mapping[str, list[Any]],
        rows: int,
    ) -> dict[str, Column]:
        """``OnDemandEngine.run`` as columns of an answer; statuses are PRESENT or NULL_VALUE.

        Raises:
            TransformFailedError: the view's function raised, or its output does not fit the declared dtype.
        """
        try:
            outputs = self._engine.run(definition, inputs, others, rows)
        except Exception as error:  # the function is the repository's own code: it may raise anything
            raise TransformFailedError(
                f"On-demand feature view {definition.name!r} failed: {type(error).__name__}: {str(error)[:300]}"
            ) from error
        return {name: _answers(stored) for name, stored in outputs.items()}


def _answers(stored: list[bytes]) -> Column:
    values = [json_value(decode_value(raw)) if raw else None for raw in stored]
    return Column(values, [PRESENT if raw else NULL_VALUE for raw in stored], stored)
