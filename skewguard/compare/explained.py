"""Why each differing cell of a compared view differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from skewguard.causes.cells import DifferingCells, Explained, explain
from skewguard.causes.relation import Integers
from skewguard.compare.columns import OtherFeatures
from skewguard.compare.comparison import Comparison
from skewguard.compare.same import mask
from skewguard.contract import iso
from skewguard.findings import Cause


def explained_cells(comparison: Comparison, index: int) -> tuple[Integers, list[Explained]]:
    """The differing cells of one feature in rows that both sides hold: their row ids, and the causes over them."""
    cells = comparison.differing_cells(index)
    ids: Integers = cells.column("row_id").to_numpy()
    explained: list[Explained] = []
    if not cells.num_rows:
        return ids, explained
    stale = mask(cells.column("stale"))
    if stale.any():
        watermark = iso(comparison.sides.watermark)
        explained.append(Explained(Cause.NOT_MATERIALIZED, stale, {"watermark": watermark}))
    rest = cells.filter(pa.array(~stale))
    for item in explain(_differing(comparison, index, rest)) if rest.num_rows else ():
        whole = np.zeros(len(ids), dtype=bool)
        whole[~stale] = item.mask
        explained.append(replace(item, mask=whole))
    return ids, explained


def _differing(comparison: Comparison, index: int, cells: pa.Table) -> DifferingCells:
    feature = comparison.sides.features[index]
    states = cells.column("state").combine_chunks().dictionary_encode()
    return DifferingCells(
        dtype=feature.dtype,
        offline=cells.column("offline").combine_chunks(),
        online=cells.column("online").combine_chunks(),
        states=np.array(states.dictionary.to_pylist(), dtype=np.str_)[np.asarray(states.indices)],
        superseded=mask(cells.column("superseded")),
        created_late=mask(cells.column("created_late")),
        population=comparison.population(feature.name),
        rows=comparison.totals.present,
        others=OtherFeatures(comparison, index, cells.column("row_id").to_numpy()),
        corrected=comparison.corrected(cells),
    )
