"""The comparison frame: both sides of a view row by row, and what the parity check makes of every cell.

One row an entity of the view: those with an offline row at or before the as-of time, then the orphans (online, and
never offline). A row whose online side is newer than the as-of time cannot be judged; it is left out and counted.

column                  dtype                     what it holds
<join key>              as declared               the entity
__as_of, __watermark    timestamp[us, UTC]        the same in every row
__event_ts_offline      timestamp[us, UTC]        of the latest offline row at or before the as-of time; null: none
__event_ts_online       timestamp[us, UTC]        of the online row; null: none, or its bytes do not decode
__inside_ttl            bool                      is the offline row inside its TTL at the as-of time?
__row_state             dictionary<int8, string>  key_absent, view_absent, present (online)
__row_cause             dictionary<int8, string>  why the whole row is wrong; null: it is not, or each cell has its own
__definitions           dictionary<int8, string>  the service's definitions as canonical JSON, the same in every row
<view>__<feature>...    for each feature:
  __offline             as declared               offline truth; null: null there, or no row inside its TTL
  __online              as declared               what the store holds, expired or not; null: see the state
  __state               dictionary<int8, string>  absent, null, value, corrupt (online)
  __equal               bool                      does online hold what offline asks for, under the policy's tolerance?
  __cause               dictionary<int8, string>  why not; null: equal

The schema's metadata (``frame_info``) tell service, view, moments, sample, dtypes, tolerances, and what was left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.relation import Integers
from skewguard.causes.rows import CELL_LEVEL
from skewguard.compare.comparison import Comparison
from skewguard.compare.explained import explained_cells
from skewguard.compare.same import Mask, mask
from skewguard.compare.sides import Chunk, ViewRows, ViewSides
from skewguard.config import Tolerance
from skewguard.contract import iso
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError, ConfigurationError
from skewguard.findings import Cause
from skewguard.serving_log.columns import value_column
from skewguard.sql import CELL_STATES, CORRUPT, EVENT_TS, KEY_ABSENT, PRESENT, ROW_STATE, STATE_PREFIX, VIEW_ABSENT
from skewguard.ttl import oldest_inside

AS_OF, WATERMARK, DEFINITIONS = "__as_of", "__watermark", "__definitions"
EVENT_TS_OFFLINE, EVENT_TS_ONLINE = "__event_ts_offline", "__event_ts_online"
INSIDE_TTL, FRAME_ROW_STATE, ROW_CAUSE = "__inside_ttl", "__row_state", "__row_cause"
OFFLINE, ONLINE, STATE, EQUAL, CAUSE = "__offline", "__online", "__state", "__equal", "__cause"
"""What the columns of a feature end with."""

_INFO = b"skewguard.comparison"
_CAUSES = [cause.value for cause in Cause]
_NO_CAUSE, _ORPHAN = -1, _CAUSES.index(Cause.ORPHAN_ONLINE.value)
_ROW_STATES = (KEY_ABSENT, VIEW_ABSENT, PRESENT)


@dataclass(frozen=True)
class FeatureInfo:
    """One feature of a frame: its name before the endings, its Feast dtype, the tolerance that was compared under."""

    name: str
    dtype: str
    relative: float | None = None
    absolute: float | None = None


@dataclass(frozen=True)
class FrameInfo:
    """What a comparison frame is of; moments are ISO 8601, UTC.

    ``join_keys``: (name, Feast dtype). ``orphans`` rows of the frame are of entities that offline never had;
    ``after_the_as_of_time`` rows were left out. ``sample``: the share of entities compared, by entity hash.
    """

    service: str
    view: str
    as_of: str
    watermark: str
    sample: float
    join_keys: tuple[tuple[str, str], ...]
    features: tuple[FeatureInfo, ...]
    orphans: int = 0
    after_the_as_of_time: int = 0

    def to_json(self) -> str:
        """As the schema's metadata hold it."""
        return json.dumps(asdict(self))


def frame_info(table: pa.Table) -> FrameInfo:
    """What a comparison frame is of; raises BadInputError for a table that is none."""
    text = (table.schema.metadata or {}).get(_INFO)
    if text is None:
        raise BadInputError("table", "no comparison frame", "one that SkewGuard.comparison gave")
    data = json.loads(text)
    features = tuple(FeatureInfo(**item) for item in data.pop("features"))
    keys = tuple((name, dtype) for name, dtype in data.pop("join_keys"))
    return FrameInfo(**data, join_keys=keys, features=features)


@dataclass(frozen=True)
class Request:
    """What a frame is asked for: of which service, the sample that ``sides`` read, tolerances, definitions as JSON.

    ``features``: the names of those that the frame has (None: all that are compared). All are compared all the same,
    because a column may hold the values of another.
    """

    service: str
    sample: float
    tolerance: Callable[[FieldDef], Tolerance]
    definitions: str
    features: frozenset[str] | None = None
    memory_limit: str | None = None

    def kept(self, features: Sequence[FieldDef]) -> list[tuple[int, FieldDef]]:
        """Those of the compared features that the frame has, with their number."""
        return [(i, f) for i, f in enumerate(features) if self.features is None or f.name in self.features]


def comparison_frame(sides: ViewSides, request: Request) -> pa.Table:
    """The comparison frame of one view: the parity check's own comparison, with the rows kept in memory.

    Raises ConfigurationError where a join key is named like one of the frame's columns.
    """
    kept = _KeptRows(
        sides.rows, [k.name for k in sides.view.join_keys], [f.name for _, f in request.kept(sides.features)]
    )
    _refuse_clashes(sides)
    comparison = Comparison(replace(sides, rows=kept), request.tolerance, request.memory_limit)
    try:
        return _assembled(comparison, kept, request)
    finally:
        comparison.close()


def columns_of_feature(name: str) -> tuple[str, ...]:
    """The columns of a feature, by its full name."""
    return tuple(name + ending for ending in (OFFLINE, ONLINE, STATE, EQUAL, CAUSE))


def frame_columns(view: str, join_keys: Sequence[str], features: Sequence[str]) -> tuple[str, ...]:
    """The columns of a view's frame, in their order."""
    own = (AS_OF, WATERMARK, EVENT_TS_OFFLINE, EVENT_TS_ONLINE, INSIDE_TTL, FRAME_ROW_STATE, ROW_CAUSE, DEFINITIONS)
    cells = [column for name in features for column in columns_of_feature(value_column(view, name))]
    return (*join_keys, *own, *cells)


def _refuse_clashes(sides: ViewSides) -> None:
    keys = [key.name for key in sides.view.join_keys]
    names = frame_columns(sides.view.name, (), [f.name for f in sides.features])
    for key in keys:
        if key in names:
            raise ConfigurationError(f"{sides.view.name}: the join key {key!r} is named like a column of the frame.")


@dataclass
class _KeptRows:
    """The rows of a view (``ViewRows``) as the comparison reads them; what the frame needs of both sides is kept."""

    inner: ViewRows
    keys: list[str]
    features: list[str]
    truth: list[pa.Table] = field(default_factory=list)
    online: list[pa.Table] = field(default_factory=list)

    def chunks(self) -> Iterator[Chunk]:
        for chunk in self.inner.chunks():
            self.truth.append(chunk.truth.select([*self.keys, *self.features, EVENT_TS]))
            states = [STATE_PREFIX + name for name in self.features]
            self.online.append(chunk.online.select([*self.features, *states, EVENT_TS, ROW_STATE]))
            yield chunk

    def values(self, column: str, at_most: int) -> pa.Array:
        return self.inner.values(column, at_most)

    def close(self) -> None:
        self.inner.close()


def _assembled(comparison: Comparison, kept: _KeptRows, request: Request) -> pa.Table:
    sides = comparison.sides
    truth = pa.concat_tables(kept.truth)
    parts = _Parts(comparison, truth, pa.concat_tables(kept.online), comparison.orphans)
    wrong = comparison.table("SELECT row_id, cause, state FROM diff ORDER BY row_id")
    row_causes, unjudged = _row_causes(wrong, parts.total)
    row_causes[truth.num_rows :] = _ORPHAN
    columns = parts.own(row_causes)
    columns[DEFINITIONS] = _dictionary(pa.array(np.zeros(parts.total, dtype=np.int8)), [request.definitions])
    for index, feature in request.kept(sides.features):
        names = columns_of_feature(value_column(sides.view.name, feature.name))
        columns |= dict(zip(names, parts.of_feature(index, row_causes), strict=True))
    table = pa.table(columns)
    if unjudged.any():
        table = table.filter(pa.array(~unjudged))
    info = _info(sides, request, comparison.orphans.num_rows, int(unjudged.sum()))
    return table.replace_schema_metadata({_INFO: info.to_json()})


@dataclass(frozen=True)
class _Parts:
    """The compared rows of both sides, and the orphans that come after them."""

    comparison: Comparison
    truth: pa.Table
    online: pa.Table
    orphans: pa.Table

    @property
    def total(self) -> int:
        return int(self.truth.num_rows + self.orphans.num_rows)

    @cached_property
    def live(self) -> Mask:
        sides, stamps = self.comparison.sides, self.truth.column(EVENT_TS)
        oldest = oldest_inside(sides.as_of, sides.view.ttl)
        inside = stamps.is_valid() if oldest is None else pc.greater_equal(stamps, pa.scalar(oldest, dtypes.TIMESTAMP))
        none = np.zeros(self.orphans.num_rows, dtype=bool)
        return np.concatenate([mask(inside), none])

    def own(self, row_causes: Integers) -> dict[str, Any]:
        """The columns that are no feature's."""
        sides, total = self.comparison.sides, self.total
        keys = {k.name: _joined(self.truth.column(k.name), self.orphans.column(k.name)) for k in sides.view.join_keys}
        return keys | {
            AS_OF: pa.repeat(pa.scalar(sides.as_of, dtypes.TIMESTAMP), total),
            WATERMARK: pa.repeat(pa.scalar(sides.watermark, dtypes.TIMESTAMP), total),
            EVENT_TS_OFFLINE: self._offline(EVENT_TS),
            EVENT_TS_ONLINE: self._online(EVENT_TS),
            INSIDE_TTL: pa.array(self.live),
            FRAME_ROW_STATE: _coded(self._online(ROW_STATE), _ROW_STATES),
            ROW_CAUSE: _causes(row_causes),
        }

    def of_feature(self, index: int, row_causes: Integers) -> tuple[Any, ...]:
        """Offline, online, state, equal, cause."""
        name, rows = self.comparison.sides.features[index].name, self.truth.num_rows
        due, stored, state = self._offline(name), self._online(name), self._online(STATE_PREFIX + name)
        if not self.live.all():
            due = pc.if_else(pa.array(self.live), due, pa.scalar(None, due.type))
        causes = _cell_causes(self.comparison, index, row_causes)
        # an orphan's cell differs where it holds anything: there is nothing offline
        holds = mask(pc.or_(stored.is_valid(), pc.equal(state, CORRUPT)))[rows:]
        causes[rows:] = np.where(holds, _ORPHAN, _NO_CAUSE)
        return due, stored, _coded(state, CELL_STATES), pa.array(causes == _NO_CAUSE), _causes(causes)

    def _offline(self, name: str) -> pa.ChunkedArray:
        column = self.truth.column(name)
        return _joined(column, pa.nulls(self.orphans.num_rows, column.type))

    def _online(self, name: str) -> pa.ChunkedArray:
        return _joined(self.online.column(name), self.orphans.column(name))


def _row_causes(wrong: pa.Table, total: int) -> tuple[Integers, Mask]:
    """By row: the number of its cause, or none; and whether it cannot be judged (an online row of the future)."""
    causes = np.full(total, _NO_CAUSE, dtype=np.int64)
    unjudged = np.zeros(total, dtype=bool)
    ids = wrong.column("row_id").to_numpy()
    names = wrong.column("cause")
    whole = mask(pc.and_(names.is_valid(), pc.not_equal(names, CELL_LEVEL)))
    codes = pc.index_in(names, value_set=pa.array(_CAUSES)).fill_null(_NO_CAUSE).to_numpy()
    causes[ids[whole]] = codes[whole]
    unjudged[ids[mask(pc.and_(names.is_null(), pc.equal(wrong.column("state"), PRESENT)))]] = True
    return causes, unjudged


def _cell_causes(comparison: Comparison, index: int, row_causes: Integers) -> Integers:
    """By row: the number of the cause of the feature's cell; none where it does not differ."""
    differing = comparison.table(f"SELECT row_id FROM diff WHERE d_{index} ORDER BY row_id").column(0).to_numpy()
    causes = np.full(len(row_causes), _NO_CAUSE, dtype=np.int64)
    causes[differing] = row_causes[differing]
    ids, explained = explained_cells(comparison, index)
    for item in explained:
        causes[ids[item.mask]] = _CAUSES.index(item.cause.value)
    return causes


def _info(sides: ViewSides, request: Request, orphans: int, unjudged: int) -> FrameInfo:
    features = []
    for _, feature in request.kept(sides.features):
        tolerance = request.tolerance(feature)
        name = value_column(sides.view.name, feature.name)
        features.append(FeatureInfo(name, feature.dtype, tolerance.relative, tolerance.absolute))
    return FrameInfo(
        service=request.service,
        view=sides.view.name,
        as_of=iso(sides.as_of),
        watermark=iso(sides.watermark),
        sample=request.sample,
        join_keys=tuple((key.name, key.dtype) for key in sides.view.join_keys),
        features=tuple(features),
        orphans=orphans,
        after_the_as_of_time=unjudged,
    )


def _joined(first: pa.ChunkedArray, second: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    more = second.chunks if isinstance(second, pa.ChunkedArray) else [second]
    return pa.chunked_array([*first.chunks, *more], type=first.type)


def _coded(column: pa.ChunkedArray, names: Sequence[str]) -> pa.DictionaryArray:
    codes = pc.index_in(column, value_set=pa.array(names, pa.string())).cast(pa.int8())
    return _dictionary(codes.combine_chunks(), names)


def _causes(codes: Integers) -> pa.DictionaryArray:
    return _dictionary(pa.array(codes, pa.int8(), mask=codes == _NO_CAUSE), _CAUSES)


def _dictionary(codes: pa.Array, names: Sequence[str]) -> pa.DictionaryArray:
    whole = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    return pa.DictionaryArray.from_arrays(whole, pa.array(names, pa.string()))
