"""Equality of two columns outside a comparison: the very expression that the parity check runs."""

from __future__ import annotations

import pyarrow as pa

from skewguard.causes.equality import equal_sql
from skewguard.compare.same import Mask, mask
from skewguard.config import Tolerance
from skewguard.offline.sources import connect


def equal_pairs(dtype: str, offline: pa.Array, online: pa.Array, tolerance: Tolerance) -> Mask:
    """Row by row: does the online value hold what the offline value asks for? Both of ``dtypes.arrow_type(dtype)``."""
    with connect() as con:
        con.register("pairs", pa.table({"offline": offline, "online": online}))
        sql = f"SELECT {equal_sql(dtype, 'offline', 'online', tolerance)} AS equal FROM pairs"
        return mask(con.execute(sql).to_arrow_table().column(0))
