"""The serving log: every vector that was served, with what it took to compute it again.

The server appends records to journals (``record``, ``queue``, ``journal``: standard library only, so that a worker
stays small and quick); another process turns closed journals into Parquet (``segments``); ``read`` gives them back.
"""
