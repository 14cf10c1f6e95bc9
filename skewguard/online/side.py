"""The online store as the checks read it: Redis by its own layout, any other store through Feast's interface."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from skewguard.definitions import ViewDef

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo
    from skewguard.online.scan import Filter, Stored

Told = Callable[[int], None]
"""Takes the number of rows done since the last call."""


class OnlineSide(Protocol):
    """Reads views of one project.

    ``limits``: what cannot be told here, in sentences; nothing of it is guessed.
    """

    @property
    def limits(self) -> tuple[str, ...]: ...  # noqa: D102

    def read(
        self,
        view: ViewDef,
        entities: pa.Table,
        features: Sequence[str],
        columns: Mapping[str, str] | None = None,
        progress: Told | None = None,
    ) -> pa.Table:
        """What the store holds of a view for every row of ``entities``: the table that ``reader.read_view`` gives."""
        ...

    def scan(self, view: ViewDef, only: Filter) -> Stored | None:
        """What is stored of a view (see ``scan.scan_view``); None where the store cannot list it."""
        ...


@dataclass(frozen=True)
class RedisSide:
    """A Redis, read in Feast's layout; ``keys_per_second``: no faster."""

    client: Any
    project: str
    keys_per_second: float | None = None
    limits: tuple[str, ...] = ()

    def read(
        self,
        view: ViewDef,
        entities: pa.Table,
        features: Sequence[str],
        columns: Mapping[str, str] | None = None,
        progress: Told | None = None,
    ) -> pa.Table:
        """``reader.read_view``."""
        from skewguard.online.reader import read_view

        return read_view(
            self.client,
            self.project,
            view,
            entities,
            features=features,
            columns=columns,
            keys_per_second=self.keys_per_second,
            progress=progress,
        )

    def scan(self, view: ViewDef, only: Filter) -> Stored:
        """``scan.scan_view``."""
        from skewguard.online.scan import scan_view

        return scan_view(self.client, self.project, view, only=only, keys_per_second=self.keys_per_second)


def names_redis(feast: FeastRepo) -> bool:
    """Does feature_store.yaml name a Redis that is read by its own layout?"""
    from skewguard.online.connection import REDIS_TYPES

    return feast.stores[1] in REDIS_TYPES


@contextlib.contextmanager
def online_side(feast: FeastRepo, keys_per_second: float | None = None) -> Iterator[OnlineSide]:
    """The online store of a repository, closed at the end. Raises ConfigurationError, StoreUnavailableError."""
    from skewguard.online.connection import connect, settings_from_repo
    from skewguard.online.through_feast import FeastSide

    if not names_redis(feast):
        yield FeastSide(feast, keys_per_second)
        return
    with contextlib.closing(connect(settings_from_repo(feast.path))) as client:
        yield RedisSide(client, feast.project, keys_per_second)
