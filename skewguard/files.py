"""Files that are written whole or not at all, and their names."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote


def file_name(name: str) -> str:
    """A service's or view's name as a file name, percent-encoded; ``urllib.parse.unquote`` is the way back."""
    return quote(name, safe="~").replace(".", "%2E")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file (UTF-8) through a temporary neighbour and a rename, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's files are for their owner only; these are read by servers
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
