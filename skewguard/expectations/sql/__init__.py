"""A suite as SQL: planned, asked of DuckDB, judged with GX's own formulas."""
