"""Faults of a view's state, in a scratch copy: a watermark that is old or not there, a definition that moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa

from skewguard.faults.ground import Fit, Ground, ViewGround
from skewguard.faults.writing import stored


def never_materialized(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """No watermark, and no row of the view online."""

    def write(ground: Ground, rows: pa.Table) -> tuple[str, ...]:
        keys, fields, _ = stored(side, ground, rows)
        with ground.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hdel(key, *fields)
            pipe.execute()
        ground.copy_of().set_watermark(side.view.name, None)
        return ()

    yield Fit(side, None, side.live, write, (side.live.num_rows,), minimum=side.live.num_rows, count=1)


def stale_watermark(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A watermark an hour older than policy allows, as where the schedule stopped."""
    limit = ground.policy.freshness_for(side.view.name).max_watermark_lag
    if limit is None:
        return
    moment = side.as_of - limit - timedelta(hours=1)

    def write(ground: Ground, _rows: pa.Table) -> tuple[str, ...]:
        ground.copy_of().set_watermark(side.view.name, moment)
        return ()

    yield Fit(side, None, side.live, write, (side.live.num_rows,), count=1)


def definition_changed(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """A TTL that is a second longer than the contract says."""

    def write(ground: Ground, _rows: pa.Table) -> tuple[str, ...]:
        ground.copy_of().lengthen_ttl(side.view.name)
        return ()

    yield Fit(side, None, side.live, write, (side.live.num_rows,), count=1)
