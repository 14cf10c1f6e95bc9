"""The values of an answer as row rules take them: numbers as numbers, moments as datetimes, bytes as bytes.

Answers hold what JSON can (``online_api.values``). Columns of most dtypes need no conversion, and get none.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from online_api.lookup import Column, ViewColumns
from skewguard import dtypes
from skewguard.online.values import json_text

Convert = Callable[[Any], Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Source:
    """Where a column of rules comes from: ``kind`` "stored" (of read ``read``, at ``position``), "computed" (at
    ``position``), "key" or "request" (by ``name``)."""

    column: str
    dtype: str
    kind: str
    name: str
    read: int = 0
    position: int = 0


def in_order(sources: Sequence[Source]) -> list[Source]:
    """Sources in the order in which ``RowValues`` gives their columns."""
    kinds = ("stored", "computed", "key", "request")
    return sorted(sources, key=lambda s: (kinds.index(s.kind), s.read, s.position, s.name))


class RowValues:
    """Gathers the columns of ``sources``, which are ``in_order``."""

    def __init__(self, sources: Sequence[Source]) -> None:
        stored: dict[int, list[Source]] = {}
        for source in sources:
            if source.kind == "stored":
                stored.setdefault(source.read, []).append(source)
        self._stored = [
            (read, _picker([s.position for s in found]), tuple(s.name for s in found)) for read, found in stored.items()
        ]
        self._others = [source for source in sources if source.kind != "stored"]
        # floats that were read in one go are numbers already
        self._floats = [
            (index, s.read, s.dtype)
            for index, s in enumerate(sources)
            if s.kind == "stored" and s.dtype in dtypes.FLOATS
        ]
        self._float_views = {(read, dtype) for _, read, dtype in self._floats}
        self._converted = [
            (index, convert)
            for index, s in enumerate(sources)
            if (s.kind, s.dtype in dtypes.FLOATS) != ("stored", True) and (convert := converter(s)) is not None
        ]

    def columns(
        self,
        views: Sequence[ViewColumns],
        computed: Sequence[tuple[Column, Any]],
        keys: Mapping[str, list[Any]],
        request: Mapping[str, list[Any]],
    ) -> list[Sequence[Any]]:
        """The columns, each of one value a row."""
        found: list[Sequence[Any]] = []
        for read, pick, names in self._stored:
            view = views[read]
            found += pick(view.lists) if view.lists is not None else [view.columns[name].values for name in names]
        for source in self._others:
            if source.kind == "computed":
                found.append(computed[source.position][0].values)
            else:
                found.append((keys if source.kind == "key" else request)[source.name])
        if any(dtype not in views[read].joined for read, dtype in self._float_views):
            for index, read, dtype in self._floats:
                if dtype not in views[read].joined:
                    found[index] = [_number(value) for value in found[index]]
        for index, convert in self._converted:
            found[index] = [None if value is None else convert(value) for value in found[index]]
        return found


def _picker(positions: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if len(positions) == 1:
        only = positions[0]
        return lambda lists: (lists[only],)
    return itemgetter(*positions)


def converter(source: Source) -> Convert | None:
    """Makes the value that rules take of one that is not null; None where it is that already."""
    if source.kind == "request":  # these were converted when the request was read
        return None
    if source.kind == "key":
        return _moment if source.dtype == "UNIX_TIMESTAMP" else None
    return _converter(source.dtype)


def _converter(dtype: str) -> Convert | None:
    inner = dtypes.element(dtype)
    if inner is not None:
        convert = _converter(inner)
        if convert is None:
            return None
        return lambda values: [None if value is None else convert(value) for value in values]
    if dtypes.is_json(dtype):
        return _text
    return _CONVERTERS.get(dtype)


def _number(value: Any) -> Any:
    """Answers have texts for NaN and the infinities."""
    return float(value) if isinstance(value, str) else value


def _moment(value: Any) -> Any:
    try:
        return _EPOCH + timedelta(seconds=value)
    except OverflowError:  # a time that Python cannot hold: what asks for one finds none, and breaks
        return value


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else json_text(value)


_CONVERTERS: Mapping[str, Convert] = {
    "DOUBLE": _number,
    "FLOAT": _number,
    "UNIX_TIMESTAMP": _moment,
    "BYTES": base64.b64decode,
}
