"""Sources that DuckDB cannot read (a warehouse, Spark): taken out through Feast's offline store, compared as files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from skewguard.definitions import Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import StoreUnavailableError
from skewguard.files import file_name
from skewguard.online.keys import DUMMY_JOIN_KEY

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo

_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=3650)


def through_feast(feast: FeastRepo, service: ServiceDef, as_of: datetime, folder: Path, every: bool) -> ServiceDef:
    """The service with each view that is no Parquet (``every``: each view) reading a file that Feast gave its rows for.

    Feast's ``pull_all_from_table_or_query`` of the configured offline store, from 1900 to ten years ahead, into
    ``folder``; a view's rows go through memory once. Raises StoreUnavailableError for what the store raises.
    """
    taken = {v.name: _extract(feast, v, as_of, folder) for v in service.views if every or v.source.kind != "parquet"}

    def swapped(projection: Projection) -> Projection:
        return replace(projection, view=taken.get(projection.view.name, projection.view))

    return replace(
        service,
        projections=tuple(map(swapped, service.projections)),
        on_demand=tuple(replace(od, inputs=tuple(map(swapped, od.inputs))) for od in service.on_demand),
    )


def _extract(feast: FeastRepo, view: ViewDef, as_of: datetime, folder: Path) -> ViewDef:
    from feast.utils import _get_column_names, _run_pyarrow_field_mapping

    store = feast.store
    feast_view = feast.feast_view(view.name)
    source = feast_view.batch_source
    entities = [store.get_entity(name) for name in view.entities]
    keys, features, stamp, created = _get_column_names(feast_view, entities)
    path = folder / f"{file_name(view.name)}.parquet"
    try:
        job = store._get_provider().offline_store.pull_all_from_table_or_query(
            config=store.config,
            data_source=source,
            join_key_columns=[key for key in keys if key != DUMMY_JOIN_KEY],
            feature_name_columns=features,
            timestamp_field=stamp,
            created_timestamp_column=created,
            start_date=_FIRST,
            end_date=as_of + _AHEAD,
        )
        table = _run_pyarrow_field_mapping(job.to_arrow(), dict(source.field_mapping or {}))
    except Exception as error:  # a store may raise anything: it is somebody's client library
        raise StoreUnavailableError(
            f"feature view {view.name!r} through Feast's offline store ({feast.stores[0]})",
            f"{type(error).__name__}: {str(error)[:300]}",
        ) from error
    kept = [name for name in table.column_names if name != DUMMY_JOIN_KEY]
    pq.write_table(table.select(kept), path)
    own = view.source
    return replace(view, source=SourceDef("parquet", str(path), own.timestamp_field, own.created_timestamp_column))
