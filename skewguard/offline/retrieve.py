"""Historical features without a training set's checks: in memory, or row by row into a Parquet file."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from skewguard.definitions import Projection, ServiceDef
from skewguard.offline.asof import explain, point_in_time, point_in_time_batches
from skewguard.offline.entity_rows import EntityRows, normalise_entity_rows
from skewguard.offline.sources import connect
from skewguard.offline.statement import JoinOptions
from skewguard.on_demand import add_on_demand

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo
    from skewguard.offline.watched import Report

_BATCH_ROWS = 100_000


@dataclass(frozen=True)
class Retrieval:
    """A point-in-time retrieval that was asked for and not yet run.

    Attributes:
        repo: the Feast repository.
        service: the feature service.
        rows: the entity rows.
        options: see ``JoinOptions``.
        memory_limit: of DuckDB ("2GB"); what does not fit goes to temporary files. None: DuckDB's own default.
    """

    repo: FeastRepo
    service: ServiceDef
    rows: EntityRows
    options: JoinOptions
    memory_limit: str | None = None

    @classmethod
    def of(
        cls, repo: FeastRepo, service: ServiceDef, entity_df: Any, options: JoinOptions, memory_limit: str | None
    ) -> Retrieval:
        """For entity rows in any form; raises BadInputError."""
        rows = normalise_entity_rows(entity_df, service, full_feature_names=options.full_feature_names)
        asked = JoinOptions(rows.timestamp_column, options.full_feature_names, options.filter_by_created_timestamp)
        return cls(repo, service, rows, asked, memory_limit)

    @property
    def _projections(self) -> tuple[Projection, ...]:
        return (*self.service.projections, *self.service.hidden)

    def explain(self) -> str:
        """DuckDB's plan of the join, as text; nothing is read but the sources' columns."""
        with connect(self.memory_limit) as con:
            return explain(con, self.rows.table, self._projections, self.options)

    def table(self, progress: Report | None = None) -> pa.Table:
        """The entity rows with their features."""
        with connect(self.memory_limit) as con:
            joined = point_in_time(
                con,
                self.rows.table,
                self._projections,
                timestamp_column=self.options.timestamp_column,
                full_feature_names=self.options.full_feature_names,
                filter_by_created_timestamp=self.options.filter_by_created_timestamp,
                progress=progress,
            )
        return self._finished(joined)

    def to_parquet(self, path: Path, progress: Report | None = None) -> int:
        """Write the rows as one Parquet file, whole or not at all; only a part of them is in memory at a time.

        Returns the number of rows.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        written = 0
        writer: pq.ParquetWriter | None = None
        try:
            with connect(self.memory_limit) as con:
                for joined in point_in_time_batches(
                    con, self.rows.table, self._projections, self.options, rows=_BATCH_ROWS, progress=progress
                ):
                    table = self._finished(joined)
                    writer = writer or pq.ParquetWriter(temporary, table.schema)
                    writer.write_table(table)
                    written += table.num_rows
            if writer is None:
                pq.write_table(self.table(), temporary)  # no rows: the columns at least
            else:
                writer.close()
                writer = None
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            if writer is not None:
                writer.close()
            temporary.unlink(missing_ok=True)
        return written

    def _finished(self, joined: pa.Table) -> pa.Table:
        full = self.options.full_feature_names
        outputs = [f.name for f in self.service.outputs(full)]
        return add_on_demand(joined, self.service, self.repo, full).select([*self.rows.table.column_names, *outputs])
