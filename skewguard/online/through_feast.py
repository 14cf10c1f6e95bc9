"""Online stores other than Redis, read through Feast's ``OnlineStore.online_read``: what that merges stays merged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard import dtypes
from skewguard.definitions import ViewDef
from skewguard.errors import StoreUnavailableError
from skewguard.online.codec import decode_column
from skewguard.online.fetch import Pace
from skewguard.online.key_columns import column_as
from skewguard.online.keys import DUMMY_JOIN_KEY
from skewguard.sql import EVENT_TS, KEY_ABSENT, PRESENT, ROW_STATE, STATE_PREFIX

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo
    from skewguard.online.scan import Filter
    from skewguard.online.side import Told

_BATCH = 500
"""Keys asked for at once; SQLite takes no more than 999 values in a statement where it is old."""

LIMITS = (
    "A feature that was never written and a stored null look alike: both are compared as null.",
    "A row that was never written, was removed or has run out is absent, whichever it was.",
    "A row has one event timestamp: features that were written at other moments than it cannot be told apart.",
    "Entities cannot be listed: rows of entities that offline does not know, or under other keys, are not looked for.",
)


@dataclass(frozen=True)
class FeastSide:
    """Any online store that Feast has (``OnlineSide``)."""

    feast: FeastRepo
    keys_per_second: float | None = None
    limits: tuple[str, ...] = LIMITS

    def read(
        self,
        view: ViewDef,
        entities: pa.Table,
        features: Sequence[str],
        columns: Mapping[str, str] | None = None,
        progress: Told | None = None,
    ) -> pa.Table:
        """As ``reader.read_view``; the states are "key_absent" or "present", and "absent", "null" or "value".

        Raises StoreUnavailableError for whatever the store raises.
        """
        keys = {key.name: column_as(key, entities.column(name), name)
                for key in view.join_keys for name in [(columns or {}).get(key.name, key.name)]}  # fmt: skip
        rows: list[tuple[Any, Mapping[str, Any] | None]] = []
        pace = Pace(self.keys_per_second)
        size = pace.batch(_BATCH)
        for start in range(0, entities.num_rows, size):
            asked = [*_entity_keys(view, keys, start, min(start + size, entities.num_rows))]
            pace.wait(len(asked))
            rows += self._ask(view, asked, features)
            if progress is not None:
                progress(len(asked))
        return _table(view, keys, features, rows)

    def scan(self, view: ViewDef, only: Filter) -> None:
        """Feast's interface lists no entities."""
        del view, only

    def _ask(self, view: ViewDef, keys: list[Any], features: Sequence[str]) -> list[Any]:
        store = self.feast.store
        try:
            return list(
                store._get_provider().online_read(
                    config=store.config,
                    table=self.feast.feast_view(view.name),
                    entity_keys=keys,
                    requested_features=list(features),
                )
            )
        except Exception as error:  # a store may raise anything: it is somebody's client library
            raise StoreUnavailableError(
                f"online store ({self.feast.stores[1]}) through Feast", f"{type(error).__name__}: {str(error)[:300]}"
            ) from error


def _entity_keys(view: ViewDef, keys: Mapping[str, pa.Array], start: int, stop: int) -> Iterator[Any]:
    """Feast's keys of some rows."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    if not view.join_keys:
        for _ in range(start, stop):
            yield EntityKey(join_keys=[DUMMY_JOIN_KEY], entity_values=[Value(string_val="")])
        return
    names = [key.name for key in view.join_keys]
    values = [
        python_values_to_proto_values(keys[key.name].slice(start, stop - start).to_pylist(), ValueType[key.dtype])
        for key in view.join_keys
    ]
    for row in zip(*values, strict=True):
        yield EntityKey(join_keys=names, entity_values=row)


def _table(
    view: ViewDef, keys: Mapping[str, pa.Array], features: Sequence[str], rows: Sequence[tuple[Any, Any]]
) -> pa.Table:
    there = [values is not None and stamp is not None for stamp, values in rows]
    columns: dict[str, Any] = dict(keys)
    states = {}
    for name in features:
        raws = [
            (values[name].SerializeToString() if name in values else b"") if present else None
            for present, (_, values) in zip(there, rows, strict=True)
        ]
        columns[name], states[STATE_PREFIX + name] = (
            decode_column(view.feature(name).dtype, raws) if raws else _nothing(view.feature(name).dtype)
        )
    stamps = [stamp if present else None for present, (stamp, _) in zip(there, rows, strict=True)]
    columns[EVENT_TS] = pa.array(stamps, dtypes.TIMESTAMP)
    columns[ROW_STATE] = pa.array([PRESENT if present else KEY_ABSENT for present in there], pa.string())
    return pa.table(columns | states)


def _nothing(dtype: str) -> tuple[pa.Array, pa.Array]:
    return pa.array([], dtypes.arrow_type(dtype)), pa.array([], pa.string())
