"""Feast's offline-store plug-in: the ASOF join behind ``get_historical_features`` and ``materialize``.

In feature_store.yaml::

    offline_store:
      type: skewguard.offline.store.SkewguardOfflineStore
      memory_limit: 2GB   # optional
      threads: 2          # optional
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import get_pyarrow_schema_from_batch_source
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from pydantic import StrictStr

from skewguard.definitions import FieldDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import BadInputError, UnsupportedSourceError
from skewguard.feast_repo import source_def, view_def
from skewguard.offline.asof import point_in_time, time_range
from skewguard.offline.entity_rows import normalise_entity_rows
from skewguard.offline.sources import connect, reading, scan_sql, source_columns, timestamp_sql
from skewguard.offline.statement import JoinOptions, training_sql
from skewguard.offline.untied import largest_first
from skewguard.sql import EVENT_TS, literal, quote


class SkewguardOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The ``offline_store`` section of feature_store.yaml."""

    type: StrictStr = "skewguard.offline.store.SkewguardOfflineStore"
    memory_limit: StrictStr | None = None
    threads: int | None = None


class AsofRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """Runs when asked for its rows; on-demand views are left to Feast's base class."""

    def __init__(
        self,
        run: Callable[[], pa.Table],
        sql: Callable[[], str],
        *,
        config: RepoConfig,
        on_demand: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._run = run
        self._sql = sql
        self._config = config
        self._on_demand = on_demand or []
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """As asked for."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """On-demand views that the base class runs on the result."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features, keys and time range."""
        return self._metadata

    def to_sql(self) -> str:
        """The DuckDB statements."""
        return self._sql()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        del timeout  # Feast's interface; a query in this process runs to its end
        return self._run()

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the rows as one Parquet file. Raises SavedDatasetLocationAlreadyExists."""
        del timeout  # Feast's interface; a query in this process runs to its end
        source = storage.to_data_source()
        if not isinstance(source, FileSource):
            raise UnsupportedSourceError(f"Saved dataset storage {type(source).__name__}; use SavedDatasetFileStorage.")
        path = Path(source_def(source, Path(self._config.repo_path or ".")).path)
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.to_arrow(), path)


class SkewguardOfflineStore(OfflineStore):  # type: ignore[misc]
    """Parquet through DuckDB's ASOF join. Rows keep their order; declared dtypes hold."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **unsupported: Any,
    ) -> RetrievalJob:
        """Point-in-time features for a DataFrame of entity rows. Raises BadInputError for SQL text or no rows."""
        asked = {name: value for name, value in unsupported.items() if value is not None}
        if asked or not isinstance(entity_df, pd.DataFrame):
            got = f"the arguments {sorted(asked)}" if asked else type(entity_df).__name__
            raise BadInputError("entity_df", got, "a pandas DataFrame of entity rows")
        projections = [_projection(view, feature_refs, config) for view in feature_views]
        rows = normalise_entity_rows(
            entity_df, ServiceDef("", tuple(projections)), full_feature_names=full_feature_names
        )
        options = JoinOptions(rows.timestamp_column, full_feature_names, filter_by_created_timestamp)

        def run() -> pa.Table:
            with _connection(config) as con:
                return point_in_time(
                    con,
                    rows.table,
                    projections,
                    timestamp_column=rows.timestamp_column,
                    full_feature_names=full_feature_names,
                    filter_by_created_timestamp=filter_by_created_timestamp,
                )

        ends = time_range(rows.table.column(rows.timestamp_column)) or (None, None)
        return AsofRetrievalJob(
            run,
            lambda: training_sql(rows.table.column_names, projections, options).script(),
            config=config,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in rows.table.column_names if name != rows.timestamp_column],
                min_event_timestamp=ends[0],
                max_event_timestamp=ends[1],
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The latest row per entity inside the window, ends included, in the file's own column names and types."""
        created = [quote(created_timestamp_column)] if created_timestamp_column else []
        keys = ", ".join(quote(k) for k in join_key_columns)
        types = source_columns(_source_view(config, data_source))
        features = [largest_first(f, types.get(f) in ("DOUBLE", "FLOAT")) for f in feature_name_columns]
        order = ", ".join([f"{EVENT_TS} DESC", *(f"{c} DESC NULLS LAST" for c in created), *features])
        partition = f"PARTITION BY {keys} " if keys else ""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        window = _window_sql(config, data_source, columns, timestamp_field, (start_date, end_date))
        sql = f"{window} QUALIFY row_number() OVER ({partition}ORDER BY {order}) = 1"
        return _source_job(config, data_source, _pulled_sql(sql, join_key_columns))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row inside the window, ends included, in the file's own column names and types."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        sql = _window_sql(config, data_source, columns, timestamp_field, (start_date, end_date))
        return _source_job(config, data_source, _pulled_sql(sql, join_key_columns))

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Append rows to a view's Parquet file, written whole beside it and renamed. Raises BadInputError."""
        schema, names = get_pyarrow_schema_from_batch_source(config, feature_view.batch_source)
        if names != table.column_names:
            raise BadInputError("table", f"columns {table.column_names}", f"{names}, in this order")
        path = Path(source_def(feature_view.batch_source, Path(config.repo_path or ".")).path)
        if path.is_dir():
            name = uuid.uuid4().hex
            hidden = path / f".{name}.tmp"  # no reader sees half a file
            pq.write_table(table.cast(schema), hidden)
            hidden.replace(path / f"{name}.parquet")
        else:
            with _locked(path.parent):
                before = pq.read_table(path)
                temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
                pq.write_table(pa.concat_tables([before, table.cast(before.schema)]), temporary)
                temporary.replace(path)
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Write logged features as a new Parquet file in the logging destination's folder."""
        del source, registry  # Feast's interface; the table says all that is needed
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise UnsupportedSourceError(
                f"Logging destination {type(destination).__name__}; use FileLoggingDestination."
            )
        table = pq.read_table(data) if isinstance(data, Path) else data
        folder = Path(config.repo_path or ".") / destination.path
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_to_dataset(
            table,
            folder,
            partition_cols=list(destination.partition_by or []) or None,
            basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time: read, append and rename are three steps, and of two writers one would lose its rows.

    The lock is on the folder itself (flock: threads and processes of one machine), so nothing is left behind.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _connection(config: RepoConfig) -> Any:
    store = config.offline_store
    return connect(getattr(store, "memory_limit", None), getattr(store, "threads", None))


def _projection(view: FeatureView, feature_refs: list[str], config: RepoConfig) -> Projection:
    """A view as the references use it."""
    definition = view_def(view, Path(config.repo_path or "."))
    prefix = view.projection.name_to_use()
    names = list(dict.fromkeys(r.split(":", 1)[1] for r in feature_refs if r.split(":", 1)[0] == prefix))
    return Projection(
        view=definition,
        features=tuple(definition.feature(name) for name in names),
        alias=view.projection.name_alias or None,
        join_key_map=tuple(sorted(view.projection.join_key_map.items())),
    )


def _source_view(config: RepoConfig, data_source: DataSource) -> ViewDef:
    """A source alone, in the shape that the SQL builder reads; column names are the file's own."""
    source = source_def(data_source, Path(config.repo_path or "."))
    plain = SourceDef(source.kind, source.path, source.timestamp_field)
    none: tuple[FieldDef, ...] = ()
    return ViewDef(data_source.name or source.path, (), none, none, None, plain)


def _window_sql(
    config: RepoConfig,
    data_source: DataSource,
    columns: list[Any],
    timestamp_field: str,
    window: tuple[datetime | None, datetime | None],
) -> str:
    view = _source_view(config, data_source)
    types = source_columns(view)
    names = list(dict.fromkeys(name for name in columns if name))
    for name in names:
        if name not in types:
            raise BadInputError(f"source {view.source.path}", f"no column {name!r}", f"one of {sorted(types)}")
    moment = timestamp_sql(quote(timestamp_field), types[timestamp_field])
    bounds = [
        f"{EVENT_TS} {sign} TIMESTAMPTZ '{_utc(edge).isoformat()}'"
        for sign, edge in zip((">=", "<="), window, strict=True)
        if edge is not None
    ]
    inner = f"SELECT {', '.join(quote(n) for n in names)}, {moment} AS {EVENT_TS} FROM {scan_sql(view)}"
    return f"SELECT * FROM ({inner}) WHERE {' AND '.join(bounds) or 'true'}"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _pulled_sql(sql: str, join_key_columns: list[str]) -> str:
    """The rows as Feast materializes them: without entities there is one dummy key (Feast's DuckDB store omits it)."""
    dummy = "" if join_key_columns else f", {literal(DUMMY_ENTITY_VAL)} AS {quote(DUMMY_ENTITY_ID)}"
    return f"SELECT * EXCLUDE ({EVENT_TS}){dummy} FROM ({sql})"


def _source_job(config: RepoConfig, data_source: DataSource, sql: str) -> AsofRetrievalJob:
    def run() -> pa.Table:
        with _connection(config) as con, reading(_source_view(config, data_source).source.path):
            return con.execute(sql).to_arrow_table()

    return AsofRetrievalJob(run, lambda: sql, config=config)
