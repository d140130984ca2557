"""Exports as files: CSV (RFC 4180), a JSON array, and Excel workbooks.

A cell of text that a spreadsheet would take for a formula gets an apostrophe before it in CSV
(CWE-1236, after OWASP's "CSV Injection"); numbers as text are left alone. So does
what stands after a separator of other spreadsheets, for which our quotes do not begin a cell. In a
workbook texts are marked as such, so they need none.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from typing import IO, Any, Final

import msgspec
from xlsxwriter import Workbook  # pyright: ignore[reportMissingTypeStubs]

from objectql.errors import InvalidQuery
from objectql.wire.messages import ExportReply

MAX_SHEET_ROWS: Final = 1_048_576
MAX_CELL_CHARACTERS: Final = 32_767
"""What a worksheet holds, by Excel's specifications and limits."""

_CHUNK_BYTES: Final = 64 * 1024

_COMPUTED: Final = r"=+\-@\uff1d\uff0b\uff0d\uff20"
_BEFORE_FORMULA: Final = re.compile(
    rf"\A(?=[{_COMPUTED}\x00-\x1f\x7f\ufeff])|(?<=[;\t\r\n])(?=[{_COMPUTED}])"
)
"""Control characters and a byte order mark may be dropped from before a formula."""

_IS_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?\Z")

_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

Pages = AsyncGenerator[ExportReply]


def harmless(text: str) -> str:
    """`text` as a cell that no spreadsheet computes."""
    return text if _IS_NUMBER.match(text) else _BEFORE_FORMULA.sub("'", text)


def _cell(value: msgspec.Raw | None) -> str:
    """A value as text: strings as they are, null as nothing, all else as its JSON."""
    text = b"null" if value is None else bytes(value)
    if text == b"null":
        return ""
    return harmless(msgspec.json.decode(text)) if text[:1] == b'"' else text.decode()


async def csv_lines(pages: Pages, *, has_header: bool) -> AsyncIterator[bytes]:
    """A line of names unless there is to be none, and a line for each record."""
    async with aclosing(pages):
        async for page in pages:
            text = io.StringIO()
            writer = csv.writer(text)
            if has_header:
                writer.writerow(page.columns)
                has_header = False
            for row in _rows.decode(page.items):
                writer.writerow([_cell(row.get(name)) for name in page.columns])
            yield text.getvalue().encode()


async def json_array(pages: Pages) -> AsyncIterator[bytes]:
    """One array of all records, each as a list would tell it."""
    yield b"["
    is_first = True
    async with aclosing(pages):
        async for page in pages:
            items = page.items.strip()[1:-1]
            if items:
                yield items if is_first else b"," + items
                is_first = False
    yield b"]"


async def workbook(pages: Pages, *, has_header: bool) -> IO[bytes]:
    """A workbook of one sheet in a temporary file, at its beginning; the caller closes it.

    Raises:
        InvalidQuery: more records or longer texts than a sheet can hold.

    """
    with ExitStack() as undo:
        file = undo.enter_context(tempfile.TemporaryFile())
        sheet = _Sheet(file, has_header=has_header)
        try:
            async with aclosing(pages):
                async for page in pages:
                    await asyncio.to_thread(sheet.add, page)
        finally:  # also what is given up has a file of its own to close
            await asyncio.to_thread(sheet.close)
        undo.pop_all()
    return file


async def chunks(file: IO[bytes]) -> AsyncGenerator[bytes]:
    """The rest of `file`, which is closed at the end."""
    with file:
        while part := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield part


class _Sheet:
    def __init__(self, file: IO[bytes], *, has_header: bool) -> None:
        self._file = file
        self._has_header = has_header
        self._row = 0
        # Rows that are done go to the disk, whatever their number.
        self._book: Any = Workbook(file, {"constant_memory": True})
        self._sheet: Any = self._book.add_worksheet()

    def add(self, page: ExportReply) -> None:
        if self._has_header:
            self._write(page.columns)
            self._has_header = False
        for row in msgspec.json.decode(page.items, type=list[dict[str, Any]]):
            self._write([row.get(name) for name in page.columns])

    def _write(self, values: Sequence[Any]) -> None:
        if self._row >= MAX_SHEET_ROWS:
            raise InvalidQuery(reason="more records than a sheet holds: ask for csv", path="format")
        for column, value in enumerate(values):
            match value:
                case None:
                    pass
                case bool():
                    self._sheet.write_boolean(self._row, column, value)
                case int() | float():
                    self._sheet.write_number(self._row, column, value)
                case _:
                    self._write_text(column, value)
        self._row += 1

    def _write_text(self, column: int, value: Any) -> None:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if len(text) > MAX_CELL_CHARACTERS:
            raise InvalidQuery(reason="a text is longer than a cell: ask for csv", path="format")
        self._sheet.write_string(self._row, column, text)

    def close(self) -> None:
        self._book.close()
        self._file.seek(0)
