"""A scratch copy of a repository for drills: its definitions, its sources, and a private Redis that it fills.

The store is filled by our materializer as of the moment, not copied from the live one: so a drill needs no live store
and puts no load on it, whatever is found in the copy is the drill's, and it is the same in every run. Nothing of the
repository, its registry, its Redis or its ``.skewguard`` is written: definitions are read through Feast (so a registry
of any kind will do), each view gets a source file of its own, a link to the user's until a fault writes another in its
place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import yaml

from skewguard.contract import FeatureContract, definition_parts
from skewguard.definitions import ServiceDef, ViewDef, canonical_json
from skewguard.digest import sample_mask
from skewguard.feast_repo import quiet_feast
from skewguard.offline.asof import latest_rows
from skewguard.offline.sources import connect, scan_sql, source_sql
from skewguard.online.embedded import EmbeddedRedis
from skewguard.sql import FAR_FUTURE, ROW_ID, quote

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard
    from skewguard.workspace import Workspace

MOST_ENTITIES = 100_000
"""A view with more entities is copied in part, by entity hash."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_COPY_ALL = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', key, key, 'DB', 0) end"
_NO_TTL = timedelta(days=36_500)


class Scratch:
    """A context manager that makes the copy of what one feature service reads, and removes it.

    Attributes (inside the context): ``guard``, the copy as a SkewGuard of its own; ``service``; ``watermark`` and
    ``as_of``, one and two whole seconds after the moment that was asked for, so that there is room before and after the
    watermark for late and new rows; ``notes``, what was left out. Raises ConfigurationError for a source that cannot be
    read or a machine without redis-server.
    """

    guard: SkewGuard

    def __init__(
        self, workspace: Workspace, service: str, moment: datetime, most_entities: int = MOST_ENTITIES
    ) -> None:
        self.original = workspace
        self.service = service
        self.watermark = moment.replace(microsecond=0) + timedelta(seconds=1)
        self.as_of = self.watermark + timedelta(seconds=1)
        self.notes: list[str] = []
        self._most_entities = most_entities
        self._stack = ExitStack()

    def __enter__(self) -> Scratch:
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="skewguard-drill-"))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._redis = self._stack.enter_context(EmbeddedRedis())
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self) -> Any:
        """A redis-py client of the copy's store."""
        return self._redis.client()

    def restore(self) -> None:
        """Undo whatever was done to the copy since it was made."""
        client, kept = self._redis.client(), self._kept()
        client.flushdb()
        kept.eval(_COPY_ALL, 0)
        for path, target in self._links.values():
            _link(path, target)
        self._write_registry(self._registry)
        shutil.rmtree(self.guard.state.root, ignore_errors=True)
        self._contract().save(self.guard.state.contract_path(self.service))

    def source(self, view: str) -> Path:
        """The copy's source file of a view: a link to the user's file, or a file that a fault has written."""
        return self._links[view][0]

    def rewrite(self, view: str, con: duckdb.DuckDBPyConnection, sql: str) -> None:
        """Replace the copy's source of a view by the rows of a query (which may read it)."""
        _copy(con, sql, self.source(view))

    def set_watermark(self, view: str, moment: datetime | None) -> None:
        """Say that the view was materialized from the beginning up to a moment, or never."""
        registry = self._read_registry()
        for item in _views(registry, self.guard.feast.project, {view}):
            _set_watermark(item, moment)
        self._write_registry(registry.SerializeToString())

    def lengthen_ttl(self, view: str) -> None:
        """A second more, or a hundred years where there was no TTL."""
        registry = self._read_registry()
        for item in _views(registry, self.guard.feast.project, {view}):
            ttl = item.spec.ttl.ToTimedelta()
            item.spec.ttl.FromTimedelta(ttl + timedelta(seconds=1) if ttl else _NO_TTL)
        self._write_registry(registry.SerializeToString())

    def _make(self) -> None:
        from skewguard.guard import SkewGuard
        from skewguard.materialize import materialize

        feast = self.original.feast
        service = feast.service(self.service)
        with quiet_feast():
            registry = feast.store.registry.proto()
        registry = _proto_of(registry.SerializeToString())
        self._links = self._copy_sources(service)
        for item in _views(registry, feast.project, set(self._links)):
            _file_source(item.spec.batch_source).file_options.uri = str(self._links[item.spec.name][0])
            _set_watermark(item, None)
        self._config_file()
        (self.folder / "registry.db").write_bytes(registry.SerializeToString())
        self.guard = SkewGuard(self.folder, policy=self.original.policy, clock=self.original.clock)
        views = [view.name for view in self.guard.feast.service(self.service).views if view.online]
        materialize(self.guard.feast, views, self.as_of)
        for item in _views(registry, feast.project, set(views)):
            _set_watermark(item, self.watermark)
        self._registry = registry.SerializeToString()
        keep = self._redis.client()
        keep.eval(_COPY_ALL.replace("'DB', 0", "'DB', 1"), 0)
        self.restore()

    def _kept(self) -> Any:
        import redis

        client = redis.Redis(host=self._redis.host, port=self._redis.port, db=1)
        self._stack.callback(client.close)
        return client

    def _copy_sources(self, service: ServiceDef) -> dict[str, tuple[Path, Path]]:
        """By view: the copy's source file, and the file that it links to: the user's own, or a copy of a part."""
        links = {}
        with connect() as con:
            for number, view in enumerate(service.views):
                source = Path(view.source.path)
                folder = self.folder / "sources" / str(number)
                folder.mkdir(parents=True)
                path = folder / (source.name if source.is_file() else "part.parquet")
                part = self._part(con, view)
                if part is not None or not source.is_file():
                    source = folder / "kept" / path.name
                    source.parent.mkdir()
                    _copy(con, part or f"SELECT * FROM {scan_sql(view)}", source)
                _link(path, source)
                links[view.name] = (path, source)
        return links

    def _part(self, con: duckdb.DuckDBPyConnection, view: ViewDef) -> str | None:
        """The rows of a sample of the entities, as SQL; None for all of them."""
        keys = [key.name for key in view.join_keys]
        if not keys:
            return None
        entities = latest_rows(con, view, FAR_FUTURE, features=[])
        if entities.num_rows <= self._most_entities:
            return None
        chosen = entities.filter(pa.array(sample_mask(entities, keys, self._most_entities / entities.num_rows)))
        self.notes.append(
            f"{view.name}: a sample of {chosen.num_rows:,} of {entities.num_rows:,} entities, by entity hash"
        )
        con.register("__entities", chosen)
        on = " AND ".join(f"s.{quote(k)} = e.{quote(k)}" for k in keys)
        if not Path(view.source.path).is_file():  # numbers of rows are those of one file
            whole = self.folder / "sources" / f"{view.name}.parquet"
            _copy(con, f"SELECT * FROM {scan_sql(view)}", whole)
            view = replace(view, source=replace(view.source, path=str(whole)))
        ids = f"SELECT s.{ROW_ID} FROM ({source_sql(view, [], row_ids=True)}) s SEMI JOIN __entities e ON {on}"
        rows = f"SELECT r.* EXCLUDE (file_row_number) FROM {scan_sql(view, numbered=True)} r"
        return f"{rows} SEMI JOIN ({ids}) p ON r.file_row_number = p.{ROW_ID}"

    def _config_file(self) -> None:
        text = os.path.expandvars((self.original.path / "feature_store.yaml").read_text(encoding="utf-8"))
        config = yaml.safe_load(text)
        scratch = {
            "project": self.original.feast.project,
            "provider": "local",
            "registry": "registry.db",
            "offline_store": config.get("offline_store", {"type": "file"}),
            "online_store": {"type": "redis", "connection_string": self._redis.connection_string},
            "entity_key_serialization_version": config.get("entity_key_serialization_version", 3),
        }
        (self.folder / "feature_store.yaml").write_text(yaml.safe_dump(scratch), encoding="utf-8")

    def _contract(self) -> FeatureContract:
        """A contract over the copy's own definitions, as a training set of no rows would have it."""
        import json

        service = self.guard.service(self.service)
        return FeatureContract(
            service=service.name,
            features=tuple((f.name, f.dtype) for f in service.outputs()),
            join_keys=(),
            request_fields=(),
            projections=json.loads(canonical_json(service.read_parts())),
            fingerprints=service.fingerprints(),
            definitions=definition_parts(service),
            entity_frame_digest="",
            training_set_digest="",
            row_count=0,
            time_range=None,
            created_cutoff=False,
            seeds={},
            profile={},
            suite_digest=None,
        )

    def _read_registry(self) -> Any:
        return _proto_of((self.folder / "registry.db").read_bytes())

    def _write_registry(self, content: bytes) -> None:
        (self.folder / "registry.db").write_bytes(content)
        self.guard.feast.refresh()


def _proto_of(content: bytes) -> Any:
    from feast.protos.feast.core.Registry_pb2 import Registry

    return Registry.FromString(content)


def _views(registry: Any, project: str, names: set[str]) -> list[Any]:
    found = [*registry.feature_views, *registry.stream_feature_views]
    return [view for view in found if view.spec.project == project and view.spec.name in names]


def _file_source(source: Any) -> Any:
    """The file of a source; of a push or stream source, that of its batch source."""
    return _file_source(source.batch_source) if source.HasField("batch_source") else source


def _set_watermark(view: Any, moment: datetime | None) -> None:
    del view.meta.materialization_intervals[:]
    if moment is not None:
        interval = view.meta.materialization_intervals.add()
        interval.start_time.FromDatetime(_BEGINNING)
        interval.end_time.FromDatetime(moment)


def _copy(con: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    """Write a query's rows beside ``path``, then put the file in its place: a link there is replaced, not followed."""
    new = path.with_name(f".new-{path.name}")
    con.execute(f"COPY ({sql}) TO '{str(new).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
    new.replace(path)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    new = path.with_name(f".new-{path.name}")
    new.symlink_to(target)
    new.replace(path)
