"""Training sets: point-in-time features, the training gate, and the contract they are frozen under."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.contract import FeatureContract, definition_parts, iso
from skewguard.definitions import ServiceDef
from skewguard.digest import table_digest
from skewguard.drift.vectors import TableVectors, columns_of, profile_vectors
from skewguard.gate import Decision
from skewguard.substitutes import substitutes

if TYPE_CHECKING:
    import pandas as pd

_LIBRARIES = ("skewguard", "feast", "duckdb", "pyarrow", "numpy", "pandas", "great-expectations")


@dataclass(frozen=True)
class TrainingSet:
    """A training set that passed the gate: entity-row columns, then the features, in the order of the entity rows.

    ``decision`` holds the verdict and the findings it was let through with.
    """

    table: pa.Table
    service: ServiceDef
    feature_names: tuple[str, ...]
    contract: FeatureContract
    decision: Decision

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table in the declared dtypes."""
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame; whole numbers with nulls become float64 there, as pandas has it."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def save(self, path: Path) -> None:
        """Write the rows as Parquet, and the contract beside them as ``<name>.contract.json``; both or neither."""
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            pq.write_table(self.table, temporary)
            self.contract.save(path.with_suffix(".contract.json"))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainingInputs:
    """What a contract is written from. ``entity_columns`` are the columns the caller brought; times are UTC."""

    service: ServiceDef
    table: pa.Table
    entity_columns: Sequence[str]
    timestamp_column: str
    full_feature_names: bool
    created_cutoff: bool
    seeds: Mapping[str, int]
    suite_digest: str | None


def write_contract(inputs: TrainingInputs) -> FeatureContract:
    """The contract of a training set; the same inputs give the same digest on any machine."""
    service, table = inputs.service, inputs.table
    ends = pc.min_max(table.column(inputs.timestamp_column)).as_py()
    span = None if ends["min"] is None else (iso(ends["min"]), iso(ends["max"]))
    vectors = TableVectors.of_outputs(table, service, inputs.timestamp_column, inputs.full_feature_names)
    profiles = profile_vectors(vectors, columns_of(service))
    columns = {column.name: (column.dtype, vectors.table.column(column.name)) for column in columns_of(service)}
    return FeatureContract(
        service=service.name,
        features=tuple((f.name, f.dtype) for f in service.outputs()),
        join_keys=tuple((f.name, f.dtype) for f in service.join_keys),
        request_fields=tuple((f.name, f.dtype) for f in service.request_fields),
        projections=service.read_parts(),
        fingerprints=service.fingerprints(),
        definitions=definition_parts(service),
        entity_frame_digest=table_digest(table.select(list(inputs.entity_columns))),
        training_set_digest=table_digest(table),
        row_count=table.num_rows,
        time_range=span,
        created_cutoff=inputs.created_cutoff,
        seeds=dict(inputs.seeds),
        profile={name: profile.to_dict() for name, profile in profiles.items()},
        suite_digest=inputs.suite_digest,
        defaults=substitutes(columns),
    )


def library_versions() -> dict[str, str]:
    """The installed versions of the libraries that shape a training set."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}
