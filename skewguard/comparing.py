"""Comparison frames of a service's views: both sides read from the stores, compared as the parity check does."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from skewguard.compare.frame import Request, comparison_frame
from skewguard.contract import service_promise
from skewguard.definitions import Projection, ServiceDef, ViewDef, canonical_json
from skewguard.errors import BadInputError, ConfigurationError, UnknownNameError
from skewguard.offline.sources import connect
from skewguard.offline.through_feast import through_feast
from skewguard.online.side import online_side

if TYPE_CHECKING:
    from skewguard.compare.sides import ViewSides
    from skewguard.workspace import Workspace


def compare_view(
    workspace: Workspace, service: ServiceDef, view: str | None, as_of: datetime,
    features: Sequence[str] | None = None, sample: float | None = None,
) -> pa.Table:  # fmt: skip
    """The comparison frame of one view of a service; see SkewGuard.comparison."""
    found = _view(service, view)
    names = [f.name for f in service.features_read(found)] if features is None else list(features)
    _refuse_unknown(service, found, names)
    if sample is not None and not 0 < sample <= 1:
        raise BadInputError("sample", repr(sample), "a share of the entities above 0 and at most 1")
    policy = workspace.policy_for(service.name)
    with connect(policy.memory_limit) as con, tempfile.TemporaryDirectory(prefix="skewguard-") as folder:
        one = of_views(service, [found.name])
        readable = through_feast(workspace.feast, one, as_of, Path(folder), policy.offline == "feast")
        wanted = {found.name: frozenset(names)}
        with frames_of(workspace, readable, wanted, as_of, con, sample) as (frames, skipped):
            for _, table in frames:
                return table
    raise ConfigurationError("; ".join(f"{name}: {why}" for name, why in skipped.items()))


Frames = Iterator[tuple[str, pa.Table]]
"""Views and their comparison frames, each made when it is asked for."""


@contextlib.contextmanager
def frames_of(
    workspace: Workspace, readable: ServiceDef, wanted: Mapping[str, frozenset[str]], as_of: datetime,
    con: duckdb.DuckDBPyConnection, sample: float | None = None,
) -> Iterator[tuple[Frames, dict[str, str]]]:  # fmt: skip
    """The comparison frames of views, with the features that are wanted of each; and why others have none, by view.

    ``readable``: the service with sources that DuckDB can read. Raises StoreUnavailableError, ConfigurationError.
    """
    from skewguard.running import collect_from

    policy = workspace.policy_for(readable.name)
    share = policy.sample if sample is None else sample
    definitions = canonical_json(service_promise(workspace.feast.service(readable.name)))

    def frame(both: ViewSides) -> pa.Table:
        request = Request(
            service=readable.name,
            sample=share,
            tolerance=functools.partial(policy.tolerance_for, both.view.name),
            definitions=definitions,
            features=wanted[both.view.name],
            memory_limit=policy.memory_limit,
        )
        return comparison_frame(both, request)

    with online_side(workspace.feast, policy.keys_per_second) as side:
        collected = collect_from(workspace, of_views(readable, list(wanted)), as_of, con, side, sample=share)
        yield ((both.view.name, frame(both)) for both in collected.sides), collected.skipped


def of_views(service: ServiceDef, names: Sequence[str]) -> ServiceDef:
    """The service as if it read these views only, each with all the features that it reads, and nothing on demand."""
    views = [view for view in service.views if view.name in names]
    projections = tuple(Projection(view, service.features_read(view)) for view in views)
    return replace(service, projections=projections, on_demand=())


def _view(service: ServiceDef, name: str | None) -> ViewDef:
    by_name = {view.name: view for view in service.views}
    if name is not None:
        if name not in by_name:
            raise UnknownNameError(f"feature view of service {service.name!r}", name, by_name)
        return by_name[name]
    if len(by_name) != 1:
        expected = f"the name of one view of {service.name!r}: {', '.join(by_name)}"
        raise BadInputError("view", "None", expected)
    return next(iter(by_name.values()))


def _refuse_unknown(service: ServiceDef, view: ViewDef, names: Sequence[str]) -> None:
    known = [f.name for f in service.features_read(view)]
    for name in names:
        if name not in known:
            raise UnknownNameError(f"feature that {service.name!r} reads of view {view.name!r}", name, known)
