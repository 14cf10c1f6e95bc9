"""Finds a view's rows that are stored under entity keys of other dtypes than declared, which no look-up reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from skewguard.causes.keys import DTYPE_PREFIX
from skewguard.definitions import ViewDef
from skewguard.errors import CorruptValueError
from skewguard.online.connection import guarded
from skewguard.online.fetch import Pace
from skewguard.online.keys import HEAD, TYPES, EntityKey, key_head, parse_key, scan_pattern, timestamp_field

_SCAN_COUNT = 1000


def scan_strays(
    client: Any, project: str, view: ViewDef, *, batch_size: int = 5000, keys_per_second: float | None = None
) -> pa.Table:
    """Every key with this view's join-key names and event timestamp, whose values have other dtypes than declared.

    Returns each join key as text (bytes that are no UTF-8 as hex digits) and ``__dtype__<join key>``, the dtype stored.
    Raises StoreUnavailableError.
    """
    stamp = timestamp_field(view.name)
    found: list[EntityKey] = []
    pace = Pace(keys_per_second)
    with guarded(client):
        for batch in _batches(_scan(client, project, view), pace.batch(batch_size)):
            pace.wait(len(batch))
            with client.pipeline(transaction=False) as pipe:
                for raw, _ in batch:
                    pipe.hexists(raw, stamp)
                replies = pipe.execute()
            found += [key for (_, key), exists in zip(batch, replies, strict=True) if exists]
    columns = {}
    for join_key in view.join_keys:
        at = sorted(key.name for key in view.join_keys).index(join_key.name)
        columns[join_key.name] = pa.array([_text(key.values[at]) for key in found], pa.string())
        columns[DTYPE_PREFIX + join_key.name] = pa.array([key.dtypes[at] for key in found], pa.string())
    return pa.table(columns)


def _scan(client: Any, project: str, view: ViewDef) -> Iterator[tuple[bytes, EntityKey]]:
    in_order = sorted(view.join_keys, key=lambda key: key.name)
    declared = tuple(TYPES.get(key.dtype, TYPES["STRING"]) for key in in_order)
    numbers = {number: name for name, number in TYPES.items()}
    head = len(key_head([key.name for key in in_order]))
    seen: set[bytes] = set()
    for raw in client.scan_iter(match=scan_pattern(project, view.join_keys), count=_SCAN_COUNT, _type="HASH"):
        if _kinds(raw, head, len(declared)) == declared or raw in seen:
            continue
        try:
            key = parse_key(raw)
        except CorruptValueError:
            continue  # the pattern also matches what is no key of Feast's
        stored = tuple(numbers[kind] for kind in declared)
        if key.project == project and key.names == tuple(k.name for k in in_order) and key.dtypes != stored:
            seen.add(raw)
            yield raw, key


def _kinds(raw: bytes, position: int, count: int) -> tuple[int, ...] | None:
    """The types of a key's values, read without taking the key apart; None where it breaks off."""
    kinds = []
    for _ in range(count):
        if position + HEAD.size > len(raw):
            return None
        kind, size = HEAD.unpack_from(raw, position)
        kinds.append(kind)
        position += HEAD.size + size
    return tuple(kinds)


def _batches(items: Iterator[tuple[bytes, EntityKey]], size: int) -> Iterator[list[tuple[bytes, EntityKey]]]:
    batch: list[tuple[bytes, EntityKey]] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
