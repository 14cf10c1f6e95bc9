"""What the parity check counts over all rows of a view, chunk by chunk, differing or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.compare.same import Mask, mask
from skewguard.compare.sides import Chunk, ViewRows
from skewguard.definitions import FieldDef
from skewguard.profile import ColumnProfile, make_bins, profile_column
from skewguard.sql import ROW_STATE

BINS_FROM = 200_000
"""The bins of a feature are fitted on about so many offline values at most, evenly over all compared rows."""


class Totals:
    """Counts over all compared rows.

    Attributes:
        rows: entities compared.
        live: of these, with an offline row inside its TTL.
        present: of the live ones, those that are online.
        states: rows by row state.
        profiles: of each feature, the offline and the online column over the same bins.
    """

    def __init__(self, features: Sequence[FieldDef], rows: ViewRows) -> None:
        self.features = features
        self.rows = self.live = self.present = 0
        self.states: Counter[str] = Counter()
        self.profiles: list[tuple[ColumnProfile, ColumnProfile]] = []
        for feature in features:
            bins = make_bins(rows.values(feature.name, BINS_FROM))
            nothing = ColumnProfile(bins, 0, 0, 0, (0,) * len(bins.labels()))
            self.profiles.append((nothing, nothing))

    def add(self, chunk: Chunk, live: Mask) -> None:
        """A chunk; ``live`` says which offline rows are inside their TTL. The others count as null."""
        self.rows += chunk.truth.num_rows
        self.live += int(live.sum())
        states = chunk.online.column(ROW_STATE)
        self.states.update({row["values"]: row["counts"] for row in pc.value_counts(states).to_pylist()})
        self.present += int((live & mask(pc.equal(states, "present"))).sum())
        inside = None if live.all() else pa.array(live)
        for index, feature in enumerate(self.features):
            offline, online = self.profiles[index]
            due, stored = chunk.truth.column(feature.name), chunk.online.column(feature.name)
            if inside is not None:
                due = pc.if_else(inside, due, pa.scalar(None, due.type))
            ours = profile_column(due, offline.bins)
            theirs = ours if due.equals(stored) else profile_column(stored, online.bins)
            self.profiles[index] = (offline.merged(ours), online.merged(theirs))
