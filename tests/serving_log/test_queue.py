"""The queue: every row is stored or counted as dropped, whatever happens to the disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from skewguard.errors import ConfigurationError
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.queue import LogLimits, LogQueue
from skewguard.serving_log.segments import make_segments
from tests.serving_log.samples import SHAPE, record


def put_many(queue: LogQueue, number: int, rows: int = 2) -> None:
    for index in range(number):
        queue.put(SHAPE, record([index] * rows, request=str(index)), rows)


def test_what_is_put_is_stored(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    queue = LogQueue(folder)
    queue.start()
    put_many(queue, 5000)
    queue.close()
    assert (queue.counts.sent, queue.counts.stored, queue.counts.dropped) == ({"orders": 10_000},) * 2 + ({},)
    made = make_segments(folder)
    assert made.stored == Counter(orders=10_000)
    assert list(folder.spool.glob("*.journal")) == list(folder.spool.glob("*.open")) == []


def test_more_than_may_wait_is_dropped_counted_and_told_in_the_log(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    queue = LogQueue(folder, LogLimits(waiting_bytes=3 * len(record([1, 2]))))
    put_many(queue, 10)  # nothing takes them yet
    assert queue.counts.dropped == {"orders": 14}
    queue.close()
    assert queue.counts.stored == {"orders": 6}
    made = make_segments(folder)
    assert (made.stored, made.dropped) == ({"orders": 6}, {"orders": 14})
    (counts,) = folder.counts.iterdir()
    assert json.loads(counts.read_text())["services"] == {"orders": {"stored": 6, "dropped": 14}}


def test_a_file_system_without_room_is_not_filled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = LogQueue(LogFolder(tmp_path), LogLimits(free_bytes=2**62))
    queue.start()
    deadline = time.monotonic() + 10
    while not queue.counts.dropped and time.monotonic() < deadline:
        put_many(queue, 1)
        time.sleep(0.05)
    queue.close()
    counts = queue.counts
    assert counts.dropped["orders"] > 0
    assert counts.sent["orders"] == counts.stored["orders"] + counts.dropped["orders"]
    assert "bytes left" in caplog.text


def test_a_full_spool_drops_until_segments_are_made(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    closed = []
    limits = LogLimits(spool_bytes=20_000, journal_bytes=5_000)
    queue = LogQueue(folder, limits, on_closed=lambda: closed.append(1))
    queue.start()
    while not queue.counts.dropped:
        put_many(queue, 10)
        time.sleep(0.01)
    assert closed
    make_segments(folder)
    before = queue.counts.dropped["orders"]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        stored = queue.counts.stored["orders"]
        put_many(queue, 1)
        time.sleep(0.3)
        if queue.counts.stored["orders"] > stored:
            break
    else:
        pytest.fail("nothing was stored again")
    queue.close()
    counts = queue.counts
    assert counts.dropped["orders"] >= before
    assert counts.sent["orders"] == counts.stored["orders"] + counts.dropped["orders"]


DISK = """
import json, resource, signal, sys, time
from pathlib import Path
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.queue import LogQueue
from tests.serving_log.samples import SHAPE, record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, resource.RLIM_INFINITY))  # every file: writing more fails
queue = LogQueue(LogFolder(Path(sys.argv[1])))
queue.start()
for index in range(200):
    queue.put(SHAPE, record([index, index]), 2)
    time.sleep(0.01)
problem = queue.problem
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
time.sleep(1.6)
queue.put(SHAPE, record([1, 1]), 2)
queue.close()
counts = queue.counts
print(json.dumps([problem, queue.problem, counts.sent, counts.stored, counts.dropped]))
"""


def test_a_disk_that_takes_no_more_costs_rows_but_never_the_count(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    problem, after, sent, stored, dropped = json.loads(done.stdout)
    assert problem == "File too large"
    assert after is None
    assert sent == {"orders": 402}
    assert stored["orders"] + dropped["orders"] == 402
    assert stored["orders"] > 0
    assert dropped["orders"] > 0
    assert "rows are dropped" in done.stderr
    made = make_segments(LogFolder(tmp_path))
    assert made.stored == stored
    assert made.dropped == dropped  # told as soon as it could be


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ConfigurationError, match="enabled: false"):
        LogQueue(LogFolder(tmp_path))
