"""The guard's own files beside a repository: ``.skewguard/`` with history, runs, contracts, gate state and plan."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from skewguard.contract import FeatureContract, iso
from skewguard.errors import BadInputError, ConfigurationError
from skewguard.files import file_name, write_atomically
from skewguard.findings import Run, Verdict
from skewguard.override import Override

GATES = ("serving", "training")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class GateState:
    """The latest verdict of one feature service, as serving reads it."""

    service: str
    verdict: Verdict
    reasons: tuple[str, ...]
    run_id: str
    as_of: str
    finished_at: datetime


class State:
    """Paths and small files of ``<repo>/.skewguard``; every write is whole or not at all."""

    def __init__(self, repo: Path) -> None:
        self.root = repo / ".skewguard"

    @property
    def history(self) -> Path:
        """The DuckDB file with every run."""
        return self.root / "history.duckdb"

    @property
    def plan(self) -> Path:
        """The compiled serving plan."""
        return self.root / "plan.json"

    def run_directory(self, run_id: str) -> Path:
        """The folder of one run (run.json, report.html); raises BadInputError for what is no run id."""
        if not _RUN_ID.fullmatch(run_id):
            raise BadInputError("run id", repr(run_id), "letters, digits, '-', '_' and '.'")
        return self.root / "runs" / run_id

    def repair_directory(self, name: str) -> Path:
        """The folder of one repair: its plan, the rows before and after."""
        return self.root / "repairs" / name

    def contract_path(self, service: str) -> Path:
        """The service's current contract."""
        return self.root / "contracts" / f"{file_name(service)}.json"

    def contract(self, service: str) -> FeatureContract | None:
        """The service's current contract, None where no training set was built yet; raises ConfigurationError."""
        path = self.contract_path(service)
        return FeatureContract.load(path) if path.is_file() else None

    def reference(self, service: str) -> Path:
        """Rows of the training set behind the service's contract."""
        return self.root / "contracts" / f"{file_name(service)}.rows.parquet"

    def profiles(self, service: str) -> Path:
        """The folder of the service's nights, as profiles of what was served."""
        return self.root / "profiles" / file_name(service)

    @property
    def metrics(self) -> Path:
        """The folder of metrics of the latest run of each service."""
        return self.root / "metrics"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' pages of the last nights, for those who want them."""
        return self.root / "data_docs"

    def gate_path(self, service: str) -> Path:
        """The file that serving watches."""
        return self.root / "gate" / f"{file_name(service)}.json"

    def override_path(self, service: str) -> Path:
        """The file with the service's overrides, which serving watches."""
        return self.root / "gate" / f"{file_name(service)}.override.json"

    def write_override(self, override: Override) -> None:
        """Publish an override to the gates that it names; it takes the place of theirs before it."""
        path = self.override_path(override.service)
        gates = GATES if override.gate == "both" else (override.gate,)
        document = {gate: one for gate, one in read_overrides(path, override.service).items() if gate not in gates}
        document |= dict.fromkeys(gates, override)
        data = {"service": override.service, **{gate: one.told() for gate, one in document.items()}}
        write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")

    def end_overrides(self, service: str) -> None:
        """No gate of the service is overridden any more."""
        self.override_path(service).unlink(missing_ok=True)

    def override(self, service: str, gate: str, now: datetime) -> Override | None:
        """The override of a gate ("serving" or "training") in force at ``now``. Raises ConfigurationError."""
        found = read_overrides(self.override_path(service), service).get(gate)
        return found if found is not None and found.set_at <= now < found.until else None

    def write_gate(self, run: Run) -> None:
        """Publish a run's verdict to serving and training, with what its blocking findings are about."""
        blocked = {(f.view, f.feature): None for f in run.findings if f.action == "block"}
        document = {
            "service": run.service,
            "verdict": run.verdict.value,
            "reasons": list(run.reasons),
            "run_id": run.run_id,
            "as_of": iso(run.as_of),
            "finished_at": iso(run.finished_at),
            "blocked": [{"view": view, "feature": feature} for view, feature in blocked],
        }
        write_atomically(self.gate_path(run.service), json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def gate(self, service: str) -> GateState | None:
        """The latest verdict, None where the service was never checked; raises ConfigurationError for a broken file."""
        path = self.gate_path(service)
        if not path.is_file():
            return None
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return GateState(
                service=data["service"],
                verdict=Verdict(data["verdict"]),
                reasons=tuple(data["reasons"]),
                run_id=data["run_id"],
                as_of=data["as_of"],
                finished_at=datetime.fromisoformat(data["finished_at"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path}: not a gate state ({type(error).__name__}: {error}); run `skewguard check` to write a new one."
            ) from error


def read_overrides(path: Path, service: str) -> dict[str, Override]:
    """The overrides in a file by gate, those that are over too; none without the file. Raises ConfigurationError."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("service") != service:
            raise ValueError("it is about another service")
        found = {}
        for gate, one in data.items():
            until, set_at = (datetime.fromisoformat(one[key]) for key in ("until", "set_at"))
            if gate not in GATES or until.tzinfo is None or set_at.tzinfo is None:
                raise ValueError(f"gate {gate!r}, or a time without its zone")
            found[gate] = Override(service, str(one["reason"]), until, str(one["by"]), set_at, gate)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: no overrides can be read from it ({type(error).__name__}: {error}); delete it, or run "
            "`skewguard override --end`."
        ) from error
    return found
