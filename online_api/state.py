"""What the handlers share in one process: a frozen snapshot at ``app.state.api``, replaced whole with the plan.

A handler takes the snapshot once and reads plan, features and verdicts from it, so that a request that is under way
while the plan is swapped ends on the plan that it began with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from online_api.metrics import Metrics
from online_api.on_demand import OnDemandViews
from online_api.passage import ServingGates
from online_api.served_log import ServedLog
from online_api.service import FeatureService
from online_api.settings import Settings
from online_api.store import OnlineStore
from online_api.verdicts import Verdicts
from skewguard.definitions import digest
from skewguard.errors import ConfigurationError, SkewguardError
from skewguard.expectations.rows.suite import RowSuite
from skewguard.plan import ServingPlan
from skewguard.row_rules import served_columns


@dataclass(frozen=True)
class ApiState:
    """Settings, plan and the working parts of a server.

    ``settings``, ``store``, ``metrics`` and ``log`` are the same objects in every snapshot. ``plan_problem`` says why a
    newer plan is not served (None: there is none); ``plan_loaded_at`` is when this one was taken into service.
    """

    settings: Settings
    plan: ServingPlan
    store: OnlineStore
    verdicts: Verdicts
    gates: ServingGates
    metrics: Metrics
    features: FeatureService
    log: ServedLog
    plan_loaded_at: datetime
    plan_problem: str | None = None


def build_state(
    settings: Settings, plan: ServingPlan, store: OnlineStore, metrics: Metrics, log: ServedLog
) -> ApiState:
    """A snapshot for ``plan``. Imports Feast (seconds) only when the plan has on-demand views.

    Raises what ``load_on_demand`` raises.
    """
    verdicts = Verdicts(settings, plan.fingerprints)
    on_demand = load_on_demand(settings, plan)
    features = FeatureService(settings, plan, store, verdicts, on_demand, log, metrics, load_rules(settings, plan))
    gates = ServingGates(settings, plan, verdicts)
    return ApiState(settings, plan, store, verdicts, gates, metrics, features, log, settings.clock())


def load_rules(settings: Settings, plan: ServingPlan) -> dict[str, RowSuite]:
    """The row rules of the plan's services that have a suite in force.

    Raises ConfigurationError for rules that are not what this version writes, or that other columns were meant by.
    """
    found = {}
    for name, rules in plan.row_rules.items():
        if rules.rules is None:
            continue
        try:
            found[name] = RowSuite.from_document(rules.rules)
        except ConfigurationError as error:
            raise ConfigurationError(f"{settings.plan}: row_rules.{name}: {error}") from error
        if rules.columns != digest(served_columns(plan.service(name))):
            raise ConfigurationError(
                f"{settings.plan}: row_rules.{name}: compiled for other features than the plan has; compile it anew."
            )
    return found


def load_on_demand(settings: Settings, plan: ServingPlan) -> OnDemandViews | None:
    """The functions of the plan's on-demand views, from the registry; None where there is none to compute.

    Feast makes each function anew from its source text in the registry, so that loading again in the same process
    gives the new definition; what the function itself imports stays as the process imported it first.
    Raises UnknownNameError or ConfigurationError when the registry no longer holds what the plan was compiled from.
    """
    names = [view.name for view in plan.on_demand if view.name not in plan.unsupported]
    if not names:
        return None
    from skewguard.feast_repo import FeastRepo

    try:
        views = OnDemandViews(settings.repo, plan)
        repo = FeastRepo(settings.repo)
        everything = repo.feature_list(
            [f"{name}:{f.name}" for name in names for f in repo.feast_on_demand(name).features]
        )
    except SkewguardError:
        raise
    except Exception as error:  # the functions are the repository's own code: loading them may raise anything
        raise ConfigurationError(
            f"The on-demand feature views of {settings.repo} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    current = everything.fingerprints()
    changed = [name for name in names if current[name] != plan.fingerprints.get(name)]
    if changed:
        raise ConfigurationError(
            f"{settings.plan}: on-demand view {changed[0]!r} is defined otherwise in the registry by now; "
            "compile the plan anew."
        )
    return views
