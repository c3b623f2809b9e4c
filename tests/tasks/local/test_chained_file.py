"""A chained file: many append to it at once, and the torn line of a crash is set aside."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from models.errors import JobBusy, LedgerTampered
from models.ledger import chain
from tasks.local.chained_file import ChainedFile, LedgerFile


@pytest.fixture
def file(tmp_path: Path) -> ChainedFile:
    return ChainedFile(tmp_path / "ledger" / "x.jsonl", ledger="test ledger", torn_log="x.torn.log")


def append(file: ChainedFile, *numbers: int) -> None:
    for number in numbers:
        with file.locked():
            file.append({"number": number})


def numbers(file: ChainedFile) -> list[int]:
    found = file.read()
    chain.verify(found.entries)
    assert found.torn == b""
    return [entry.body["number"] for entry in found.entries]


def test_a_missing_file_has_no_entries(file):
    assert file.read() == LedgerFile([])
    assert not file.path.exists()


def test_entries_are_read_back_in_order_and_earlier_bytes_never_change(file):
    append(file, 1)
    first = file.path.read_bytes()
    append(file, 2, 3)
    assert numbers(file) == [1, 2, 3]
    assert file.path.read_bytes().startswith(first)


def test_entries_that_are_appended_together_are_those_of_single_appends(file, tmp_path):
    append(file, 1, 2, 3)
    other = ChainedFile(tmp_path / "other" / "x.jsonl", ledger="test ledger")
    with other.locked():
        first = other.append_all([{"number": 1}])
        rest = other.append_all([{"number": 2}, {"number": 3}])
    assert other.path.read_bytes() == file.path.read_bytes()
    assert [*first, *rest] == file.read().entries


@pytest.mark.parametrize("size", [10, 65_000, 65_536, 200_000])
def test_an_entry_follows_the_last_one_however_long_the_lines_are(file, size):
    for _ in range(3):
        with file.locked():
            file.append({"number": 1, "text": "x" * size})
    append(file, 2)
    assert numbers(file) == [1, 1, 1, 2]


@pytest.mark.parametrize("whole", [0, 1, 3])
@pytest.mark.parametrize("torn", [b'{"body":{"num', b"x" * 200_000, b"\xff"])
def test_a_torn_last_line_is_set_aside(file, whole, torn):
    append(file, *range(whole))
    file.path.parent.mkdir(exist_ok=True)
    with file.path.open("ab") as handle:
        handle.write(torn)
    assert file.read().torn == torn
    append(file, 9)
    assert numbers(file) == [*range(whole), 9]
    assert file.path.with_name("x.torn.log").read_bytes() == torn + b"\n"


@pytest.mark.parametrize("line", [b"", b"{}", b"\xff"])
def test_nothing_is_appended_after_a_line_that_is_not_an_entry(file, line):
    append(file, 1, 2)
    damaged = file.path.read_bytes() + line + b"\n"
    file.path.write_bytes(damaged)
    with pytest.raises(LedgerTampered, match="test ledger was changed: entry 3") as caught:
        append(file, 3)
    assert caught.value.position == 3
    assert file.path.read_bytes() == damaged


def test_threads_do_not_lose_each_others_entries(file):
    threads = [threading.Thread(target=append, args=(file, *range(k, k + 10))) for k in range(0, 60, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers(file)) == list(range(60))


def test_processes_do_not_lose_each_others_entries(file):
    script = (
        "import sys; from pathlib import Path; from tasks.local.chained_file import ChainedFile\n"
        f"file = ChainedFile(Path({str(file.path)!r}), ledger='test ledger')\n"
        "for number in range(int(sys.argv[1]), int(sys.argv[1]) + 10):\n"
        "    with file.locked():\n"
        "        file.append({'number': number})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(k)]) for k in range(0, 40, 10)]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert sorted(numbers(file)) == list(range(40))


def test_a_wait_that_is_too_long_names_the_lock(file):
    message = r"Another process held the lock .*x\.lock for 0\.05 s"
    with file.locked(), pytest.raises(JobBusy, match=message), file.locked(timeout_s=0.05):
        pass
    append(file, 1)
    assert numbers(file) == [1]
