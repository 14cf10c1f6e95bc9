"""The other columns of a view beside one of its features, over the rows of that one's differing cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from skewguard.causes.relation import Integers
from skewguard.compare.comparison import Comparison

_JOIN_KEY = " (join key)"


@dataclass(frozen=True)
class OtherFeatures:
    """The columns of a view beside feature ``index``, over the rows of its differing cells (``OtherColumns``).

    ``row_ids`` are those of the cells, ascending.
    """

    comparison: Comparison
    index: int
    row_ids: Integers

    @cached_property
    def _columns(self) -> dict[str, tuple[str, str, str]]:
        """Name -> dtype, offline value and online value as SQL over ``diff``."""
        sides = self.comparison.sides
        columns = {
            f.name: (f.dtype, f"CASE WHEN o_ts = t_ts THEN t_{i} ELSE e_{i} END", f"o_{i}")
            for i, f in enumerate(sides.features)
            if i != self.index
        }
        keys = {k.name + _JOIN_KEY: (k.dtype, f"k_{i}", f"k_{i}") for i, k in enumerate(sides.view.join_keys)}
        return columns | keys

    @property
    def dtypes(self) -> Mapping[str, str]:
        """The dtype of every column, by name; join keys say in their name that they are one."""
        return {name: dtype for name, (dtype, _, _) in self._columns.items()}

    def offline(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        """Offline values of the rows that the cell rules compare."""
        return self._read([self._columns[name][1] for name in names], cells)

    def online(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        """Online values of these rows."""
        return self._read([self._columns[name][2] for name in names], cells)

    def population(self, name: str) -> pa.Array:
        """Offline values of a column from about ``POPULATION`` of the compared rows."""
        keys = {key.name + _JOIN_KEY: key.name for key in self.comparison.sides.view.join_keys}
        return self.comparison.population(keys.get(name, name))

    def _read(self, values: Sequence[str], cells: Integers) -> list[pa.Array]:
        if not values:
            return []
        con = self.comparison.con
        con.register("__cells", pa.table({"row_id": pa.array(self.row_ids[cells], pa.int64())}))
        selected = ", ".join(f"{value} AS c_{i}" for i, value in enumerate(values))
        try:
            table = self.comparison.table(
                f"SELECT {selected} FROM diff SEMI JOIN __cells USING (row_id) ORDER BY row_id"
            )
        finally:
            con.unregister("__cells")
        return [table.column(i).combine_chunks() for i in range(len(values))]
