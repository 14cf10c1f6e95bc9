"""What the parity check compares: both sides of one view, in chunks, and what it asks about the rows that differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from skewguard.definitions import FieldDef, ViewDef


class OfflineEvidence(Protocol):
    """What the classification asks of the offline store, for the differing entities only.

    ``keys`` holds the join-key columns of the view, one row an entity.
    """

    def known(self, keys: pa.Table) -> pa.Table:
        """Join keys and ``__event_ts``: the latest row that a materialization up to the watermark could have seen."""
        ...

    def exists(self, rows: pa.Table) -> pa.Table:
        """Of ``rows`` (join keys and ``__event_ts``), those whose entity has an offline row at that very moment."""
        ...

    def superseded(self, keys: pa.Table) -> pa.Table:
        """Join keys, features, ``__event_ts``: rows that share entity and event timestamp with others.

        The one that counts is among them (the created timestamp decides, else the values); a differing online value
        that is there is that of a row which lost.
        """
        ...


@dataclass(frozen=True)
class Chunk:
    """Some entities of a view.

    ``truth``: their latest offline rows at or before the as-of time (join keys, features, ``__event_ts``,
    ``__created_ts``), TTL not applied. ``online``: what the store holds for the same entities, row by row (features,
    ``__event_ts``, ``__row_state``, ``__state__<feature>``). ``expected``: as ``truth``, but at the watermark, for the
    entities whose truth lies after it, where they had a row then; for the others the truth is what is expected.
    """

    truth: pa.Table
    online: pa.Table
    expected: pa.Table


class ViewRows(Protocol):
    """The entities of a view that are compared: those with an offline row at or before the as-of time."""

    def chunks(self) -> Iterator[Chunk]:
        """All of them, each once. The online store is read as the chunks are."""
        ...

    def values(self, column: str, at_most: int) -> pa.Array:
        """A join key's or feature's offline values inside the TTL, of about so many rows, evenly over all."""
        ...

    def close(self) -> None:
        """Free what the rows hold; they are read anew where they are asked for again."""
        ...


@dataclass(frozen=True)
class Outside:
    """What the online store holds beside the compared entities.

    ``twins``: join keys of entities that are stored under another key that means the same, with ``__stored`` and
    ``__difference`` (see causes.keys). ``orphans``: online rows of entities that offline has no row of, at any time
    (join keys, features, ``__event_ts``).
    """

    twins: pa.Table
    orphans: pa.Table


class OnlineListing(Protocol):
    """Lists what is online of a view."""

    def outside(self, missing: pa.Table) -> Outside:
        """What is stored of no compared entity. ``missing``: join keys of the entities that should be online."""
        ...


@dataclass(frozen=True)
class ViewSides:
    """Both sides of one view."""

    view: ViewDef
    features: tuple[FieldDef, ...]
    as_of: datetime
    watermark: datetime
    rows: ViewRows
    evidence: OfflineEvidence
    listing: OnlineListing
    windows: tuple[tuple[datetime, datetime], ...] = ()
    """The materialized windows (start, end), both ends in; none known means one that ended at the watermark."""


def whole(rows: ViewRows) -> Chunk:
    """All rows as one chunk, for views that fit into memory."""
    parts = [(chunk.truth, chunk.online, chunk.expected) for chunk in rows.chunks()]
    return Chunk(*(pa.concat_tables(tables) for tables in zip(*parts, strict=True)))
