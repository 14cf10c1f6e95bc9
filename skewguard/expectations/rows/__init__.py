"""Row-local expectations for the server: compiled once, judged on every request.

``compile_rows`` (``compile.py``) turns a suite into a ``RowSuite`` (``suite.py``), plain data that says what becomes of
every rule; ``RowValidator`` (``validator.py``) judges rows by it, ``RateWindow`` (``rate.py``) counts them. Only
compiling may import GX.
"""
