"""Journals: what was written comes back; what a crash cut off is left out and told; a live journal is let be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.serving_log.journal import JournalReader, JournalWriter, finished

BLOCKS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), min_size=1, max_size=5)


def written(folder: Path, blocks: list[list[bytes]], name: str = "j") -> tuple[Path, list[int]]:
    """A closed journal, and where each of its blocks ends."""
    writer = JournalWriter(folder, name)
    ends = []
    for block in blocks:
        writer.append(block)
        ends.append(writer.size)
    writer.close()
    return folder / f"{name}.journal", ends


def read(path: Path) -> tuple[list[bytes], bool]:
    reader = JournalReader(path)
    return [bytes(record) for record in reader], reader.whole


@settings(max_examples=60, deadline=None)
@given(BLOCKS, st.data())
def test_a_journal_cut_anywhere_gives_its_whole_blocks(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[bytes]], data: st.DataObject
) -> None:
    path, ends = written(tmp_path_factory.mktemp("cut"), blocks)
    assert read(path) == ([record for block in blocks for record in block], True)

    cut = data.draw(st.integers(0, ends[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    whole = sum(end <= cut for end in ends)
    assert read(path) == ([record for block in blocks[:whole] for record in block], cut in (0, *ends))


@settings(max_examples=60, deadline=None)
@given(BLOCKS, st.data())
def test_a_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[bytes]], data: st.DataObject
) -> None:
    path, ends = written(tmp_path_factory.mktemp("changed"), blocks)
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    before = sum(end <= place for end in ends)
    found, whole = read(path)
    assert not whole
    assert found == [record for block in blocks[:before] for record in block]


def test_a_journal_that_is_being_written_is_let_be_and_a_left_one_is_found(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "2-live")
    writer.append([b"x"])
    code = (
        "import os, sys; from pathlib import Path; from skewguard.serving_log.journal import JournalWriter\n"
        "writer = JournalWriter(Path(sys.argv[1]), '1-dead'); writer.append([b'a', b'b']); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    closed, _ = written(tmp_path, [[b"c"]], "3-closed")

    assert [path.name for path in finished(tmp_path)] == ["1-dead.open", closed.name]
    assert read(tmp_path / "1-dead.open") == ([b"a", b"b"], True)
    writer.close()
    assert [path.name for path in finished(tmp_path)] == ["1-dead.open", "2-live.journal", closed.name]


def test_an_empty_journal_leaves_nothing(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "j")
    writer.discard()
    assert list(tmp_path.iterdir()) == []
