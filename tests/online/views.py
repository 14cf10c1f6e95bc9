"""View definitions and rows for the tests of the online side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from skewguard import dtypes
from skewguard.definitions import FieldDef, SourceDef, ViewDef

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def hours(count: float) -> datetime:
    """The moment ``count`` hours before NOW."""
    return NOW - timedelta(hours=count)


def view(name: str, keys: Mapping[str, str], features: Mapping[str, str]) -> ViewDef:
    """A view with join keys and features by dtype."""
    return ViewDef(
        name,
        tuple(keys),
        tuple(FieldDef(key, dtype) for key, dtype in keys.items()),
        tuple(FieldDef(feature, dtype) for feature, dtype in features.items()),
        None,
        SourceDef("parquet", "/data/v.parquet", "event_timestamp"),
    )


def rows(definition: ViewDef, values: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Rows of (join keys..., features..., event timestamp)."""
    fields = [(f.name, dtypes.arrow_type(f.dtype)) for f in (*definition.join_keys, *definition.features)]
    fields.append(("__event_ts", dtypes.TIMESTAMP))
    return pa.table({name: pa.array([row[i] for row in values], kind) for i, (name, kind) in enumerate(fields)})


def dump(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    """Everything in Redis."""
    return {key: client.hgetall(key) for key in client.keys("*")}
