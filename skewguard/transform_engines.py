"""The engines of an on-demand view: what training runs, what our server runs, and what Feast's own server runs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from skewguard import dtypes
from skewguard.checks.transform import Outcome
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef
from skewguard.edge_rows import usual
from skewguard.on_demand import add_outputs
from skewguard.online.codec import decode_column, encode_column
from skewguard.online.feast_on_demand import run_as_feast
from skewguard.online.on_demand import OnDemandEngine
from skewguard.patience import Tried, tried
from skewguard.replaying import merged_projections

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo

Stored = Mapping[str, list[bytes]]
"""Outputs of one row, as stored bytes."""

_HANGS = 2
"""After so many calls that had to be interrupted an engine is asked no more."""


@dataclass(frozen=True)
class Patience:
    """Seconds for one call (a row, or a batch), and for a run of calls."""

    call: float = 5.0
    run: float = 2.5


class ViewInputs:
    """The inputs of one view. ``fields``: by their column: ``<projection>__<feature>``, request data as they are named.

    ``others``: join keys and request data. ``stored``: where each stored input lies, (projection, feature).
    """

    def __init__(self, definition: OnDemandDef) -> None:
        self.projections: list[Projection] = merged_projections(ServiceDef("", (), (definition,)))
        self.stored = {p.output_name(f.name, True): (p.name, f) for p in self.projections for f in p.features}
        keys = {column: key for p in self.projections for key, column in p.keys}
        request = {f.name: f for f in definition.request_fields}
        self.others: dict[str, FieldDef] = {name: replace(key, name=name) for name, key in keys.items()} | request
        self.fields: dict[str, FieldDef] = {name: item for name, (_, item) in self.stored.items()} | request

    def table(self, found: pa.Table, rows: int) -> pa.Table:
        """So many rows with every column: what ``found`` does not have holds usual values."""
        columns = {}
        for name, item in (self.fields | self.others).items():
            kind = dtypes.arrow_type(item.dtype)
            there = name in found.column_names
            columns[name] = found.column(name).cast(kind) if there else pa.array([usual(item.dtype)] * rows, kind)
        return pa.table(columns)


class Engines:
    """The engines of one view. Each call has its own copies of the inputs: what a function does to them stays there."""

    def __init__(self, feast: FeastRepo, definition: OnDemandDef, patience: Patience = Patience()) -> None:
        self.definition, self.inputs, self._patience = definition, ViewInputs(definition), patience
        self._feast_view = feast.feast_on_demand(definition.name)
        self._ours = OnDemandEngine(feast, [definition])

    # -- training -----------------------------------------------------------------------------------------------------

    def training(self, table: pa.Table) -> tuple[Outcome, str | None]:
        """All rows as one batch; where that raises, the halves, down to the rows that raise. Second: what it raised."""
        until = time.monotonic() + max(self._patience.run, self._patience.call)
        whole = self._batch(table)
        return self._halves(table, whole, until), whole.raised

    def training_singly(self, table: pa.Table) -> Outcome:
        """Each row as a batch of its own."""
        answers = self._in_time(table, lambda row: self._batch(table.slice(row, 1)))
        return self._joined([self._part(answer, 1) for answer in answers])

    def _batch(self, table: pa.Table) -> Tried[dict[str, pa.Array]]:
        def call() -> dict[str, pa.Array]:
            result = add_outputs(table, self.definition, self._feast_view, True)
            names = {f.name: self.definition.output_name(f.name, True) for f in self.definition.features}
            return {name: result.column(column).combine_chunks() for name, column in names.items()}

        return tried(call, self._patience.call * (2 if table.num_rows > 1 else 1))

    def _halves(self, table: pa.Table, whole: Tried[dict[str, pa.Array]], until: float) -> Outcome:
        if whole.raised is None or table.num_rows <= 1:
            return self._part(whole, table.num_rows)
        if time.monotonic() > until:
            return self._part(Tried(too_slow=True), table.num_rows)
        half = table.num_rows // 2
        parts = [table.slice(0, half), table.slice(half)]
        return self._joined([self._halves(part, self._batch(part), until) for part in parts])

    # -- serving ------------------------------------------------------------------------------------------------------

    def serving(self, table: pa.Table) -> list[Tried[Stored]]:
        """Each row as a request of its own, by our server's engine."""
        return self._served(table, lambda inputs, others: self._ours.run(self.definition, inputs, others, 1))

    def serving_as_feast(self, table: pa.Table) -> list[Tried[Stored]]:
        """Each row as a request of its own, by Feast's ``get_online_features``."""
        return self._served(
            table, lambda inputs, others: run_as_feast(self._feast_view, self.definition, inputs, others, 1)
        )

    def _served(self, table: pa.Table, run: Callable[[Any, Any], Stored]) -> list[Tried[Stored]]:
        stored = {
            place: encode_column(place[1].dtype, table.column(name)).to_pylist()
            for name, place in self.inputs.stored.items()
        }
        others = {name: self._sent(name, table.column(name)) for name in self.inputs.others}

        def answer(row: int) -> Tried[Stored]:
            inputs = {(projection, item.name): [raws[row]] for (projection, item), raws in stored.items()}
            mine = {name: [values[row]] for name, values in others.items()}

            def call() -> Stored:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # user code in pandas warns about itself; it is not ours to fail on
                    return run(inputs, mine)

            return tried(call, self._patience.call)

        return self._in_time(table, answer)

    def _sent(self, name: str, column: pa.ChunkedArray) -> list[Any]:
        """Request data and join keys as a request brings them: times in whole seconds, of join keys since 1970."""
        values: list[Any] = column.to_pylist()
        if not pa.types.is_timestamp(column.type):
            return values
        asked = name in self.inputs.fields
        return [v if v is None else v.replace(microsecond=0) if asked else int(v.timestamp()) for v in values]

    def outcome(self, answers: Sequence[Tried[Stored]]) -> Outcome:
        """What was served, in the declared dtypes."""
        columns = {
            f.name: decode_column(f.dtype, [a.value[f.name][0] if a.value is not None else b"" for a in answers])[0]
            for f in self.definition.features
        }
        return Outcome(columns, [a.raised for a in answers], [a.too_slow for a in answers])

    # -- either -------------------------------------------------------------------------------------------------------

    def _in_time(self, table: pa.Table, answer: Callable[[int], Tried[Any]]) -> list[Tried[Any]]:
        """Each row's answer, until time is up; one row is asked for in any case."""
        until = time.monotonic() + self._patience.run
        answers: list[Tried[Any]] = []
        for row in range(table.num_rows):
            hangs = sum(found.too_slow for found in answers)
            if hangs >= _HANGS or (row and time.monotonic() > until):
                return answers + [Tried(too_slow=True)] * (table.num_rows - row)
            answers.append(answer(row))
        return answers

    def _part(self, answer: Tried[dict[str, pa.Array]], rows: int) -> Outcome:
        kinds = {f.name: dtypes.arrow_type(f.dtype) for f in self.definition.features}
        columns = answer.value if answer.value is not None else {n: pa.nulls(rows, kind) for n, kind in kinds.items()}
        return Outcome(columns, [answer.raised] * rows, [answer.too_slow] * rows)

    def _joined(self, parts: Sequence[Outcome]) -> Outcome:
        columns = {}
        for f in self.definition.features:
            kind = dtypes.arrow_type(f.dtype)
            columns[f.name] = pa.chunked_array([part.columns[f.name].cast(kind) for part in parts], kind)
        return Outcome(
            {name: column.combine_chunks() for name, column in columns.items()},
            [text for part in parts for text in part.raised],
            [slow for part in parts for slow in part.left_out],
        )


def differing(
    definition: OnDemandDef, first: Sequence[Tried[Stored]], second: Sequence[Tried[Stored]]
) -> frozenset[str]:
    """Outputs that came otherwise the second time, where there was time for both."""
    both = [(a, b) for a, b in zip(first, second, strict=True) if not (a.too_slow or b.too_slow)]
    return frozenset(
        f.name
        for f in definition.features
        if any((a.value and a.value[f.name]) != (b.value and b.value[f.name]) for a, b in both)
    )


def kept(table: pa.Table, outcome: Outcome, rows: Any) -> tuple[pa.Table, Outcome]:
    """Some rows, and what came of them."""
    places: list[int] = np.flatnonzero(rows).tolist()
    columns = {name: column.take(pa.array(places, pa.int64())) for name, column in outcome.columns.items()}
    return table.take(pa.array(places, pa.int64())), Outcome(columns, [outcome.raised[at] for at in places])
