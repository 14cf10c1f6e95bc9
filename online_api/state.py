"""What the handlers share in one process: built once by the app factory, kept at ``app.state.api``."""

from __future__ import annotations

from dataclasses import dataclass

from online_api.metrics import Metrics
from online_api.service import FeatureService
from online_api.settings import Settings
from online_api.store import OnlineStore
from online_api.verdicts import Verdicts
from skewguard.plan import ServingPlan


@dataclass(frozen=True)
class ApiState:
    """Settings, plan and the working parts of a server."""

    settings: Settings
    plan: ServingPlan
    store: OnlineStore
    verdicts: Verdicts
    metrics: Metrics
    features: FeatureService
