"""Records of one shape as a table in Feast's logging schema, decoded column by column.

Columns, in the order of ``feast.feature_logging.FeatureServiceLoggingSource`` (Feast 0.67): entity-row columns; for
each feature ``<view>__<feature>``, ``..__timestamp``, ``..__status`` (int32, Feast's FieldStatus); ``__log_timestamp``
(microseconds, UTC), ``__log_date`` (date), ``__request_id``. Behind them what Feast has no columns for: ``__row``
(int32, place in the request), ``__as_of`` (microseconds, UTC), ``__plan``, ``__contract`` (digests; null without a
contract), ``__fallback`` (JSON text: which features were sent another value, and of which kind; null in most rows; the
value is what was sent, its event timestamp that of the stored one), ``__unfit``
(JSON text: by column, what was sent where the declared dtype cannot hold it; such a value is null in its column).
Last, the inputs of on-demand views that were not part of the answer, as features are, with their join keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.online.codec import decode_column, event_micros
from skewguard.online.columns import Cells
from skewguard.online.values import decode_value, json_text
from skewguard.serving_log.record import STATUS_CODES, LoggedRows, LoggedView, Shape
from skewguard.serving_log.sent_instead import FALLBACK, SentInstead
from skewguard.sql import CORRUPT

LOG_TIMESTAMP, LOG_DATE, REQUEST_ID = "__log_timestamp", "__log_date", "__request_id"
ROW, AS_OF, PLAN, CONTRACT = "__row", "__as_of", "__plan", "__contract"
UNFIT = "__unfit"
_PRESENT, _NULL, _EXPIRED = (STATUS_CODES[s] for s in ("PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE"))
_MICROS = pa.timestamp("us", tz="UTC")
Array = npt.NDArray[Any]


def value_column(view: str, feature: str) -> str:
    """The column of a feature's values; ``..__timestamp`` and ``..__status`` stand beside it."""
    return f"{view}__{feature}"


def rows_table(shape: Shape, records: Sequence[LoggedRows]) -> pa.Table:
    """The rows of records of one shape, in their order but for those of different forms."""
    forms: dict[tuple[Any, ...], list[LoggedRows]] = {}
    for record in records:
        forms.setdefault(tuple(tuple(joined) for _, joined, _ in record.views), []).append(record)
    return pa.concat_tables([_form_table(shape, alike) for alike in forms.values()])


def _form_table(shape: Shape, records: Sequence[LoggedRows]) -> pa.Table:
    """The rows of records whose views have the same dtypes joined."""
    counts = np.array([record.rows for record in records], dtype=np.int64)
    unfit = _Unfit(int(counts.sum()))
    entity: dict[str, Any] = {}
    for index, (name, dtype, _) in enumerate(shape.columns):
        values = list(chain.from_iterable(record.columns[index] for record in records))
        entity[name] = _entity_column(name, dtype, values, unfit)
    moments = [
        event_micros(Cells.of(list(chain.from_iterable(record.views[index][0] for record in records)))).cast(_MICROS)
        for index in range(len(shape.views))
    ]
    statuses = _Statuses(records, counts)
    sent = SentInstead(records, counts)
    shown: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    place = 0
    for index, (view, stamps) in enumerate(zip(shape.views, moments, strict=True)):
        columns = shown if view.shown else hidden
        columns |= {key: entity[key] for key in view.keys}
        found = _view_cells(view, [record.views[index] for record in records], counts)
        for (name, dtype), raws in zip(view.features, found, strict=True):
            codes = statuses.of(place)
            column = value_column(view.name, name)
            values = _values(column, dtype, raws, _sent(codes, shape.keep_expired), unfit)
            if view.shown:
                values, codes = sent.put(place, column, dtype, values, codes)
            columns[column] = values
            columns |= {f"{column}__timestamp": stamps, f"{column}__status": pa.array(codes, pa.int32())}
            place += 1
    output = 0
    stored = sum(len(view.features) for view in shape.views if view.shown)
    for on_demand in shape.on_demand:
        shown |= {name: entity[name] for name in on_demand.request}
        oldest = _oldest([moments[index] for index in on_demand.inputs], len(statuses.present))
        for name, dtype in on_demand.features:
            raws = Cells.of(list(chain.from_iterable(record.computed[output] for record in records)))
            codes = np.where(raws.sizes > 0, _PRESENT, _NULL).astype(np.int32)
            column = value_column(on_demand.name, name)
            values = _values(column, dtype, raws, raws.sizes > 0, unfit)
            shown[column], codes = sent.put(stored + output, column, dtype, values, codes)
            shown |= {f"{column}__timestamp": oldest, f"{column}__status": pa.array(codes, pa.int32())}
            output += 1
    system = _system_columns(shape, records, counts) | {FALLBACK: sent.column(), UNFIT: unfit.column()}
    rest = {name: column for name, column in {**entity, **hidden}.items() if name not in shown}
    return pa.table(shown | system | rest)


def _view_cells(view: LoggedView, parts: Sequence[tuple[Any, ...]], counts: Array) -> list[Cells]:
    """The stored bytes of a view's features, one after the other."""
    joined = {dtype: _joined_cells(view, dtype, parts, counts) for dtype in parts[0][1]}
    cells, place = [], 0
    for _, dtype in view.features:
        if dtype in joined:
            cells.append(next(joined[dtype]))
        else:
            cells.append(Cells.of(list(chain.from_iterable(part[2][place] for part in parts))))
            place += 1
    return cells


def _joined_cells(view: LoggedView, dtype: str, parts: Sequence[tuple[Any, ...]], counts: Array) -> Iterator[Cells]:
    """The features of a dtype whose values lie in one piece for each record, column by column."""
    features = sum(other == dtype for _, other in view.features)
    data = np.frombuffer(b"".join(part[1][dtype] for part in parts), dtype=np.uint8)
    total = int(counts.sum())
    width = len(data) // (features * total)
    before = np.cumsum(counts) - counts
    # a record begins behind all features of those before it; in it, a feature behind as many rows as it has
    first = np.repeat(before * features, counts) + (np.arange(total) - np.repeat(before, counts))
    step = np.repeat(counts, counts)
    for place in range(features):
        yield Cells(data, (first + place * step) * width, np.full(total, width, dtype=np.int64))


class _Unfit:
    """Values that the declared dtype of their column cannot hold, by row and column."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._found: dict[int, dict[str, Any]] = {}

    def add(self, row: int, column: str, value: Any) -> None:
        """Keep one, as it was sent."""
        self._found.setdefault(row, {})[column] = value

    def column(self) -> pa.Array:
        """Null where everything fits."""
        if not self._found:
            return pa.nulls(self._rows, pa.string())
        return pa.array([json_text(self._found[row]) if row in self._found else None for row in range(self._rows)],
                        pa.string())  # fmt: skip


def _entity_column(name: str, dtype: str, values: list[Any], unfit: _Unfit) -> pa.Array:
    """Entity-row values of a dtype; timestamps come as whole seconds, open types (maps, ...) become JSON text."""
    if dtype == "UNIX_TIMESTAMP":
        return pa.array([None if v is None else v * 1_000_000 for v in values], pa.int64()).cast(_MICROS)
    kind = dtypes.arrow_type(dtype)
    if dtypes.is_json(dtype):
        return pa.array([v if v is None or isinstance(v, str) else json_text(v) for v in values], kind)
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # request data of a list type is taken as it comes
        kept: list[Any] = []
        for row, value in enumerate(values):
            holds = _holds(kind, value)
            kept.append(value if holds else None)
            if not holds:
                unfit.add(row, name, value)
        return pa.array(kept, kind)


def _holds(kind: pa.DataType, value: Any) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return False
    return True


def _values(column: str, dtype: str, raws: Cells, sent: Array, unfit: _Unfit) -> pa.Array:
    """The values of a feature; one that was not sent is null."""
    held = raws if sent.all() else Cells(raws.data, raws.starts, np.where(sent, raws.sizes, -1))
    values, states = decode_column(dtype, held)
    if pc.any(pc.equal(states, CORRUPT)).as_py():
        for row in np.flatnonzero(np.asarray(pc.equal(states, CORRUPT))).tolist():
            unfit.add(row, column, decode_value(held.raw(row) or b""))
    return values


def _sent(codes: Array, keep_expired: bool) -> Array:
    sent: Array = (codes == _PRESENT) | (codes == _EXPIRED) if keep_expired else codes == _PRESENT
    return sent


class _Statuses:
    """The status codes of each feature for all rows."""

    def __init__(self, records: Sequence[LoggedRows], counts: Array) -> None:
        self.present = np.full(int(counts.sum()), _PRESENT, dtype=np.int32)
        starts = np.cumsum(counts) - counts
        self._odd = [
            (int(start), record.odd) for start, record in zip(starts, records, strict=True) if record.odd is not None
        ]

    def of(self, place: int) -> Array:
        """Of the feature at this place among those that were shown."""
        codes = self.present
        for start, odd in self._odd:
            if place in odd:
                codes = codes.copy() if codes is self.present else codes
                found = np.frombuffer(odd[place], dtype=np.uint8)
                codes[start : start + len(found)] = found
        return codes


def _oldest(moments: Sequence[pa.Array], rows: int) -> pa.Array:
    """The oldest of the event timestamps that there are; null where there is none."""
    if not moments:
        return pa.nulls(rows, _MICROS)
    return pc.min_element_wise(*(column.cast(pa.int64()) for column in moments)).cast(_MICROS)


def _system_columns(shape: Shape, rest: Sequence[LoggedRows], counts: Array) -> dict[str, Any]:
    times = np.repeat(np.array([one.time_us for one in rest], dtype=np.int64), counts)
    as_of = np.repeat(np.array([one.as_of_us for one in rest], dtype=np.int64), counts)
    which = pa.array(np.repeat(np.arange(len(rest)), counts))
    logged = pa.array(times).cast(_MICROS)
    places = chain.from_iterable(range(one.rows) if one.places is None else one.places for one in rest)
    return {
        LOG_TIMESTAMP: logged,
        LOG_DATE: logged.cast(pa.date32()),
        REQUEST_ID: pa.array([one.request_id for one in rest], pa.string()).take(which),
        ROW: pa.array(np.fromiter(places, dtype=np.int32, count=len(times))),
        AS_OF: pa.array(as_of).cast(_MICROS),
        PLAN: pa.repeat(pa.scalar(shape.plan), len(times)),
        CONTRACT: pa.array([one.contract for one in rest], pa.string()).take(which),
    }
