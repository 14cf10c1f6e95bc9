"""What a repair did, kept beside the repository: its plan, the rows before and after, and the outcome."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from skewguard.contract import iso
from skewguard.files import file_name, write_atomically

if TYPE_CHECKING:
    from skewguard.repair import RepairPlan, ViewOutcome
    from skewguard.state import State


@dataclass(frozen=True)
class RepairLog:
    """A folder: ``repair.json``, and for each view ``<view>.before.parquet`` and ``<view>.after.parquet``.

    The tables are those of ``online.reader.read_view``: join keys, features, event timestamp, states. ``repair.json``
    says ``"done": false`` until the end, so that a repair that broke off shows.
    """

    folder: Path
    plan: RepairPlan
    started_at: datetime

    @classmethod
    def begin(cls, state: State, plan: RepairPlan, now: datetime) -> RepairLog:
        """Make the folder, and write the plan."""
        log = cls(state.repair_directory(f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"), plan, now)
        log.folder.mkdir(parents=True)
        log._write({"done": False})
        return log

    def keep(self, view: str, tables: Mapping[str, pa.Table]) -> None:
        """Write tables of a view, by name."""
        for name, table in tables.items():
            if not table.column_names:  # Parquet has no rows without columns
                continue
            pq.write_table(table, self.folder / f"{file_name(view)}.{name}.parquet")

    def end(self, outcomes: Sequence[ViewOutcome], now: datetime) -> None:
        """Write how it went."""
        self._write({"done": True, "finished_at": iso(now), "outcomes": [asdict(outcome) for outcome in outcomes]})

    def _write(self, more: Mapping[str, object]) -> None:
        document = {**self.plan.to_dict(), "started_at": iso(self.started_at), **more}
        write_atomically(self.folder / "repair.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
