"""The HTTP endpoints beside the look-up, one function each; docs/http.md tells them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from online_api.pages import RUN_ID, has_report
from online_api.problems import VERDICT_HEADER, NotReadyError
from online_api.state import ApiState
from skewguard.errors import ConfigurationError, StoreUnavailableError
from skewguard.findings import Run
from skewguard.run_json import load_run
from skewguard.state import GATES

router = APIRouter()


def _state(request: Request) -> ApiState:
    state: ApiState = request.app.state.api
    return state


def _json(content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), 200, headers, "application/json")


@router.get("/health")
async def health() -> Response:
    """The process is alive. Looks at nothing else."""
    return _json({"status": "ok"})


@router.get("/ready")
async def ready(request: Request) -> Response:
    """The plan is loaded, Redis answers, and at least one gate lets requests pass; else a 503 problem."""
    state = _state(request)
    reasons = []
    try:
        await state.store.ping()
    except StoreUnavailableError as error:
        reasons.append(str(error).rstrip("."))
    names = state.plan.service_names()
    gates = {name: _gate(state, name) for name in names}
    if names and all(gate == "closed" for gate in gates.values()):
        reasons.append("the serving gate of every feature service is closed")
    if reasons:
        raise NotReadyError(reasons)
    return _json(
        {
            "status": "ready",
            "project": state.plan.project,
            "plan": state.plan.digest,
            "plan_problem": state.plan_problem,
            "suite_problems": {name: rules.problem for name, rules in state.plan.row_rules.items() if rules.problem},
            "gates": gates,
        }
    )


def _gate(state: ApiState, service: str) -> str:
    """ "open", "closed", "fallback" where features are replaced, or "overridden"."""
    found = state.gates.look(service)
    if found.closed is not None:
        return "closed"
    return "overridden" if found.overrides else "fallback" if found.blocked else "open"


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus metrics in the text format."""
    state = _state(request)
    for name in state.plan.service_names():
        state.metrics.show_verdict(name, state.verdicts.current(name).verdict)
        for gate in GATES:
            state.metrics.override.labels(name, gate).set(int(state.verdicts.override(name, gate) is not None))
        rules = state.plan.row_rules.get(name)
        state.metrics.suite_problem.labels(name).set(int(rules is not None and rules.problem is not None))
    state.features.show_alarms()
    return Response(state.metrics.render(), 200, media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/services/{service}/skew")
async def skew(service: str, request: Request) -> Response:
    """The latest verdict on a feature service, its gate, and a summary of the run; raises UnknownNameError (404)."""
    state = _state(request)
    state.plan.service(service)
    current = state.verdicts.current(service)
    found, override = state.gates.look(service), state.verdicts.override(service)
    runs = state.settings.state / "runs"
    body: dict[str, Any] = {
        "service": service,
        "verdict": current.verdict.value,
        "reasons": list(current.reasons),
        "run_id": current.run_id or None,
        "as_of": current.as_of or None,
        "finished_at": current.finished_at or None,
        "gate": {
            "serving": state.settings.policy(service).serving,
            "inconclusive": state.settings.policy(service).inconclusive,
            "closed": found.closed is not None,
            "fallback": sorted(place.reference for place in found.blocked),
            "override": None if override is None else override.told(),
        },
        "run": await asyncio.to_thread(_run_summary, runs, current.run_id),
    }
    return _json(body, {VERDICT_HEADER: current.verdict.value})


def _run_summary(runs: Path, run_id: str) -> dict[str, Any] | None:
    """Checks and findings of a run without rows; None where its file is not there, ``problem`` where it is broken."""
    if not RUN_ID.fullmatch(run_id):
        return None
    try:
        run: Run = load_run((runs / run_id / "run.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ConfigurationError) as error:
        return {"problem": f"run.json cannot be used: {error}"}
    return {
        "started_at": run.started_at.isoformat().replace("+00:00", "Z"),
        "report": f"/reports/{run_id}" if has_report(runs, run_id) else None,
        "checks": [
            {
                "check": check.check,
                "status": check.status,
                "compared": check.compared,
                "population": check.population,
                "coverage": check.coverage,
                "findings": len(check.findings),
                "reason": check.reason,
            }
            for check in run.checks
        ],
        "findings": [
            {
                "check": finding.check,
                "cause": finding.cause.value,
                "view": finding.view,
                "feature": finding.feature,
                "count": finding.count,
                "compared": finding.compared,
                "action": finding.action,
                "message": finding.message,
            }
            for finding in run.findings
        ],
    }
