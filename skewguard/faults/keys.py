"""Faults of keys and of what is there at all: a key of another dtype, a key that is gone, a field never written."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from skewguard import dtypes
from skewguard.causes.relation import is_value
from skewguard.definitions import FieldDef
from skewguard.faults.ground import Fit, Ground, ViewGround
from skewguard.faults.writing import stored
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field

_OTHER_KEY = {"INT64": "STRING", "INT32": "INT64", "STRING": "BYTES"}
"""Under which dtype a careless writer would store a join key."""


def entity_key_mismatch(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """The view's row under a key whose first part that allows it has another dtype; other views stay where they are."""
    declared = list(side.view.join_keys)
    at = next((i for i, key in enumerate(declared) if key.dtype in _OTHER_KEY), None)
    if at is None:
        return
    name, other = declared[at].name, _OTHER_KEY[declared[at].dtype]
    declared[at] = FieldDef(name, other)

    def write(ground: Ground, rows: pa.Table) -> tuple[str, ...]:
        place = rows.column_names.index(name)
        moved = rows.set_column(place, name, rows.column(name).cast(dtypes.arrow_type(other)))
        own, fields, values = stored(side, ground, rows)
        twins = entity_keys(ground.project, declared, moved).to_pylist()
        with ground.client.pipeline(transaction=False) as pipe:
            for key, twin, cells in zip(own, twins, values, strict=True):
                pipe.hset(twin, mapping={f: v for f, v in zip(fields, cells, strict=True) if v is not None})
                pipe.hdel(key, *fields)
            pipe.execute()
        return ()

    yield Fit(side, None, side.live, write, (side.live.num_rows,))


def missing_online(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """The whole key is gone, and with it the rows of every view with these join keys."""

    def write(ground: Ground, rows: pa.Table) -> tuple[str, ...]:
        with ground.client.pipeline(transaction=False) as pipe:
            for key in entity_keys(ground.project, side.view.join_keys, rows).to_pylist():
                pipe.unlink(key)
            pipe.execute()
        others = [s.view for s in ground.views if s is not side and set(s.view.join_keys) == set(side.view.join_keys)]
        for view in others if side.keys else ():
            ground.mark(view.name, rows.select(side.keys))
        return tuple(view.name for view in others)

    yield Fit(side, None, side.live, write, (side.live.num_rows,))


def field_never_written(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """One field is gone from the view's row, as where a feature was added later."""
    for feature in side.features:
        field = feature_field(side.view.name, feature.name)

        def write(ground: Ground, rows: pa.Table, field: bytes = field) -> tuple[str, ...]:
            with ground.client.pipeline(transaction=False) as pipe:
                for key in entity_keys(ground.project, side.view.join_keys, rows).to_pylist():
                    pipe.hdel(key, field)
                pipe.execute()
            return ()

        there = side.live.filter(pa.array(is_value(side.column(feature))))
        yield Fit(side, feature.name, there, write, (there.num_rows,))
