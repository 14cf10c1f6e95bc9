"""Lists the entities that the store holds a view's row of, under their own keys or under keys that no look-up makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from skewguard import dtypes
from skewguard.causes.keys import DTYPE_PREFIX
from skewguard.definitions import FieldDef, ViewDef
from skewguard.errors import CorruptValueError
from skewguard.online.connection import guarded
from skewguard.online.fetch import Pace
from skewguard.online.keys import DUMMY_JOIN_KEY, EntityKey, parse_key, scan_pattern, timestamp_field
from skewguard.online.timestamps import in_range

_SCAN_COUNT = 1000

Filter = Callable[[pa.Array], pa.Array]
"""Of a batch of Redis keys (binary), those that are of interest."""


@dataclass(frozen=True)
class Stored:
    """What a scan found, in no order.

    ``entities``: join keys (declared dtype); of a view without entities a table without columns, of one row or none.
    ``strays``: the same join-key names with values of other dtypes than declared: each join key as text (bytes that
    are no UTF-8 as hex digits) and ``__dtype__<join key>``, the dtype stored.
    """

    entities: pa.Table
    strays: pa.Table


def scan_view(
    client: Any,
    project: str,
    view: ViewDef,
    *,
    only: Filter | None = None,
    batch_size: int = 50_000,
    keys_per_second: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> Stored:
    """Every key with this view's join-key names that holds its event timestamp.

    Keys of other projects are left out, also of one whose name ends in this one's. ``only`` is asked about the keys
    before anything else is done with them. ``keys_per_second``: look at no more; ``progress`` is called with the number
    of keys looked at since the last call. Raises StoreUnavailableError.
    """
    names = tuple(sorted(key.name for key in view.join_keys)) or (DUMMY_JOIN_KEY,)
    declared = {key.name: _stored_dtype(key.dtype) for key in view.join_keys} or {DUMMY_JOIN_KEY: "STRING"}
    own: list[EntityKey] = []
    strays: list[EntityKey] = []
    seen: set[bytes] = set()
    pace = Pace(keys_per_second)
    with guarded(client):
        found = client.scan_iter(match=scan_pattern(project, view.join_keys), count=_SCAN_COUNT, _type="HASH")
        for batch in _batches(found, pace.batch(batch_size)):
            pace.wait(len(batch))
            wanted = batch if only is None else only(pa.array(batch, pa.binary())).to_pylist()
            keys = {raw: key for raw in wanted if raw not in seen and (key := _key_of(raw, project, names)) is not None}
            seen.update(keys)
            for key in _holding(client, keys, timestamp_field(view.name)):
                (own if dict(zip(key.names, key.dtypes, strict=True)) == declared else strays).append(key)
            if progress is not None:
                progress(len(batch))
    return Stored(_entities(view, own), _strays(view, strays))


def _stored_dtype(dtype: str) -> str:
    return "STRING" if dtype in ("UUID", "TIME_UUID") else dtype


def _batches(items: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _key_of(raw: bytes, project: str, names: Sequence[str]) -> EntityKey | None:
    """The key of an entity of this project with these join keys, None for any other."""
    try:
        key = parse_key(raw)
    except CorruptValueError:
        return None  # the pattern also matches what is no key of Feast's
    return key if key.project == project and tuple(key.names) == tuple(names) else None


def _holding(client: Any, keys: dict[bytes, EntityKey], field: bytes) -> Iterator[EntityKey]:
    """The keys that have the field."""
    if not keys:
        return
    with client.pipeline(transaction=False) as pipe:
        for raw in keys:
            pipe.hexists(raw, field)
        for key, exists in zip(keys.values(), pipe.execute(), strict=True):
            if exists:
                yield key


def _entities(view: ViewDef, found: Sequence[EntityKey]) -> pa.Table:
    if not view.join_keys:
        return pa.table({"one": [1] * len(found)}).select([])
    rows = [dict(zip(key.names, key.values, strict=True)) for key in found]
    times = [key.name for key in view.join_keys if key.dtype == "UNIX_TIMESTAMP"]
    # a time that no date can show cannot come out of a source either
    rows = [row for row in rows if all(in_range(row[name]) for name in times)]
    arrays = [_column(key, [row[key.name] for row in rows]) for key in view.join_keys]
    return pa.Table.from_arrays(arrays, names=[key.name for key in view.join_keys])


def _column(key: FieldDef, values: list[Any]) -> pa.Array:
    if key.dtype != "UNIX_TIMESTAMP":
        return pa.array(values, dtypes.arrow_type(key.dtype))
    return pa.array([value * 1_000_000 for value in values], pa.int64()).cast(dtypes.TIMESTAMP)


def _strays(view: ViewDef, found: Sequence[EntityKey]) -> pa.Table:
    columns = {}
    for join_key in view.join_keys:
        cells = [dict(zip(key.names, zip(key.values, key.dtypes, strict=True), strict=True)) for key in found]
        columns[join_key.name] = pa.array([_text(cell[join_key.name][0]) for cell in cells], pa.string())
        columns[DTYPE_PREFIX + join_key.name] = pa.array([cell[join_key.name][1] for cell in cells], pa.string())
    return pa.table(columns)


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
