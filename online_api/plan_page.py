"""``GET /v1/plan``: what is served, since when, and why a newer plan is not."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from online_api.state import ApiState

router = APIRouter()


@router.get("/v1/plan")
async def show_plan(request: Request) -> Response:
    """The plan's digest, the services, each view's fingerprint, each service's suite, and the trouble with a newer plan
    (null: none)."""
    state: ApiState = request.app.state.api
    body = {
        "project": state.plan.project,
        "digest": state.plan.digest,
        "loaded_at": state.plan_loaded_at.isoformat().replace("+00:00", "Z"),
        "problem": state.plan_problem,
        "services": state.plan.service_names(),
        "fingerprints": dict(state.plan.fingerprints),
        "suites": {name: rules.told() for name, rules in state.plan.row_rules.items()},
    }
    return Response(orjson.dumps(body), 200, media_type="application/json")
