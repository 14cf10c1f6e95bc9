"""Rows of a training set kept beside its contract: what the joint test and slices compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skewguard.drift.vectors import TableVectors
from skewguard.offline.sources import connect
from skewguard.sql import quote

ROWS = 20_000
"""Most rows that are kept."""
_DIGEST = b"skewguard.training_set"


def save_reference(path: Path, vectors: TableVectors, names: Sequence[str], digest: str) -> int:
    """Write these columns of some rows, picked by a hash of their content, whole or not at all; how many.

    ``digest`` is the training set's, by which a contract knows its rows.
    """
    kept = vectors.read([name for name in names if name in vectors.columns])
    with connect() as con:
        con.register("__rows", kept)
        hashed = f"hash({', '.join(map(quote, kept.column_names))})"
        picked = con.execute(f"SELECT * FROM __rows ORDER BY {hashed} LIMIT {ROWS}").to_arrow_table()
    picked = picked.replace_schema_metadata({_DIGEST: digest.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        pq.write_table(picked, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return int(picked.num_rows)


def load_reference(path: Path, digest: str) -> TableVectors | None:
    """The rows that belong to the training set of this digest; None where there are none."""
    try:
        table: pa.Table = pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    known = (table.schema.metadata or {}).get(_DIGEST)
    return TableVectors(table.replace_schema_metadata(None)) if known == digest.encode() else None
