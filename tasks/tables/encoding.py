"""Refuses a text file that is not UTF-8 text, with what it seems to be and how to convert it."""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path
from typing import NoReturn

from tasks.tables.dialect import Dialect, Opened, first_record, row_of_open_quotation
from tasks.tables.table import refuse

_BLOCK_BYTES = 4 << 20
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive", "Export the sheet as CSV UTF-8."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Export the sheet as CSV UTF-8."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it with gunzip."),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it with unzstd."),
    (b"PAR1", "a Parquet file", "Name it .parquet."),
    (b"SQLite format 3\0", "an SQLite database", "Read it as a silo with source.sql, or export it as CSV."),
)


def require_text(path: Path, open_: Opened, dialect: Dialect) -> None:
    """Raise `InvalidInput` unless the file is UTF-8 without NUL bytes and its quotation marks are closed."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = marks = 0
    with open_() as stream:
        head = stream.read(_BLOCK_BYTES)
        _require_no_other_format(path, head)
        block = head
        while True:
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                offset = done - pending + error.start
                _refuse_bytes(path, open_, dialect, head, offset, error.object[error.start])
            if b"\0" in block:
                _refuse_bytes(path, open_, dialect, head, done + block.index(b"\0"), 0)
            if not block:
                break
            marks += block.count(b'"')
            done += len(block)
            block = stream.read(_BLOCK_BYTES)
    # Marks inside a value without quotation marks mean nothing, so an odd number is only a suspicion.
    if dialect.is_quoted and marks % 2:
        row = row_of_open_quotation(open_, dialect)
        if row is not None:
            refuse(path, "a quotation mark is not closed", row=row)


def _require_no_other_format(path: Path, head: bytes) -> None:
    for magic, what, step in _FORMATS:
        if head.startswith(magic):
            refuse(path, f"the file is {what}, not text", next_step=step)


def _refuse_bytes(
    path: Path, open_: Opened, dialect: Dialect, head: bytes, offset: int, byte: int
) -> NoReturn:
    what = "holds a NUL byte" if byte == 0 else f"is not UTF-8: byte 0x{byte:02x}"
    source, target = shlex.quote(str(path)), f"{path.stem}-utf8{path.suffix}"
    encoding = _encoding(head)
    rule = f"the file {what} at offset {offset}"
    step = f"Convert it: iconv -f {encoding or 'WINDOWS-1252'} -t UTF-8 {source} > {shlex.quote(target)}"
    if encoding:
        # Lines have no meaning before the file is converted.
        refuse(path, f"{rule}; it seems to be {encoding}", offset=offset, next_step=step, converted=target)
    row, _ = first_record(open_, dialect, _has_surrogate if byte else _has_nul)
    if byte:
        step += " (if it is western European text from Windows; else name its own encoding after -f)"
    else:
        step = f"Remove it: tr -d '\\000' < {source} > {shlex.quote(target)}"
    refuse(path, rule, row=row, offset=offset, next_step=step, converted=target)


def _encoding(head: bytes) -> str:
    """Return the encoding that the first bytes of a file tell, or nothing."""
    for mark, encoding in _ENCODINGS:
        if head.startswith(mark):
            return encoding
    # The names of columns are ASCII, so that every other byte of UTF-16 is 0.
    even, odd = head[:64:2], head[1:64:2]
    if odd and not any(odd):
        return "UTF-16LE"
    if even and not any(even):
        return "UTF-16BE"
    return ""


def _has_nul(values: list[str]) -> bool:
    return any("\0" in value for value in values)


def _has_surrogate(values: list[str]) -> bool:
    return any("\udc80" <= letter <= "\udcff" for value in values for letter in value)
