"""Exports as files: what is asked of the kernel, and what spreadsheets get to read."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import AsyncGenerator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.context import Actor
from objectql.errors import InvalidQuery, PermissionDenied, Unauthenticated
from objectql.query.ast import Compare, Op
from objectql.wire.messages import ExportReply
from objectql_gateway_rest.export_formats import MAX_CELL_CHARACTERS, csv_lines, workbook
from objectql_gateway_rest.settings import LimitSettings

PATH = "/api/v1/data/task/export"
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
COLUMNS = ("id", "title", "n", "tags")


def reply(*rows: dict[str, Any], next: str | None = None) -> ExportReply:
    return ExportReply(json.dumps(rows).encode(), len(rows), COLUMNS, next)


def row(id: str, title: Any = None, n: Any = None, tags: Any = None) -> dict[str, Any]:
    return {"id": id, "title": title, "n": n, "tags": tags}


async def pages(*replies: ExportReply) -> AsyncGenerator[ExportReply]:
    for each in replies:
        yield each


async def cells_of_csv(*titles: str) -> list[str]:
    rows = [row(str(number), title) for number, title in enumerate(titles)]
    text = b"".join([part async for part in csv_lines(pages(reply(*rows)), has_header=False)])
    return [line[1] for line in csv.reader(io.StringIO(text.decode(), newline=""))]


def cells_of_sheet(content: bytes) -> list[list[tuple[str, str]]]:
    """Kind (`inlineStr`, `n`, `b`) and text of every cell."""
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        root = ET.fromstring(parts.read("xl/worksheets/sheet1.xml"))
    assert root.find(f".//{SHEET}f") is None, "there is a formula"
    return [
        [(cell.get("t", "n"), "".join(cell.itertext())) for cell in line]
        for line in root.iter(f"{SHEET}row")
    ]


# --- requests -------------------------------------------------------------------------------------


async def test_an_export_is_a_csv_file_of_everything(client: Any, kernel: Any) -> None:
    kernel.answers["export"] = reply(row("1", "a,b", 2, ["x"]), row("2"))
    answer = await client.get(PATH)
    assert answer.text == 'id,title,n,tags\r\n1,"a,b",2,"[""x""]"\r\n2,,,\r\n'
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="task.csv"'


async def test_it_is_asked_for_page_by_page_up_to_the_limit(
    client: Any, kernel: Any, limits: LimitSettings
) -> None:
    replies = [reply(row("1"), next="c1"), reply(row("2"), next="c2"), reply(row("3"), next="c3")]
    asked: list[tuple[Any, ...]] = []

    async def page(request: Any, _context: Any) -> ExportReply:
        query = request.query
        asked.append((query.limit, query.offset, query.after, query.where))
        return replies[len(asked) - 1]

    kernel.slow["export"] = page
    parameters = {"limit": "3", "offset": "5", "filter": '{"n": 1}', "format": "json"}
    answer = await client.get(PATH, params=parameters)
    assert [each["id"] for each in answer.json()] == ["1", "2", "3"]
    where = Compare(("n",), Op.EQ, 1, None, "filter.n")
    assert [each[:3] for each in asked] == [(3, 5, None), (2, None, "c1"), (1, None, "c2")]
    assert {each[3] for each in asked} == {where}


async def test_without_a_limit_it_goes_on_to_the_end(
    client: Any, kernel: Any, limits: LimitSettings
) -> None:
    async def page(request: Any, _context: Any) -> ExportReply:
        assert request.query.limit == limits.max_page
        return reply(row("1"), next=None if request.query.after else "c")

    kernel.slow["export"] = page
    assert (await client.get(PATH, params={"header": "false"})).text == "1,,,\r\n1,,,\r\n"


@pytest.mark.parametrize("format_", ["csv", "json"])
async def test_it_ends_with_the_right_of_who_asks(
    client: Any, kernel: Any, services: Any, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    asked: list[Any] = []

    async def refuse(_token: str) -> Actor:
        raise Unauthenticated

    async def page(request: Any, _context: Any) -> ExportReply:
        asked.append(request)
        monkeypatch.setattr(services.verifier, "verify", refuse)
        return reply(row("1"), next="c" if len(asked) < 3 else None)

    kernel.slow["export"] = page
    with pytest.raises(Unauthenticated):  # the server closes the connection without an end
        await client.get(PATH, params={"format": format_})
    assert len(asked) == 1


async def test_an_export_of_nothing_has_its_header(client: Any, kernel: Any) -> None:
    kernel.answers["export"] = reply()
    assert (await client.get(PATH)).text == "id,title,n,tags\r\n"
    assert (await client.get(PATH, params={"format": "json"})).json() == []


async def test_a_refused_export_is_an_ordinary_error(client: Any, kernel: Any) -> None:
    kernel.answers["export"] = PermissionDenied(operation="export", object="task")
    answer = await client.get(PATH, params={"format": "xlsx"})
    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "parameters",
    [
        {"format": "pdf"},
        {"header": "maybe"},
        {"groupBy": "n"},
        {"distinct": "true"},
        {"nonsense": "1"},
        {"explain": "true"},
    ],
)
async def test_what_is_no_export_is_refused_before_anything_is_read(
    client: Any, kernel: Any, parameters: dict[str, str]
) -> None:
    assert (await client.get(PATH, params=parameters)).status_code == 400
    assert "export" not in {verb for verb, _, _ in kernel.asked}


async def test_an_unknown_object_is_404(client: Any) -> None:
    assert (await client.get("/api/v1/data/nonsense/export")).status_code == 404


# --- spreadsheets ---------------------------------------------------------------------------------

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\x0b=1",
    "\x7f=1",
    "\ufeff=1",
    "\uff1d1+1",
    '=HYPERLINK("x")',
]


async def test_a_text_that_would_be_computed_gets_an_apostrophe() -> None:
    cells = await cells_of_csv(*FORMULAS)
    assert [cell[:1] for cell in cells] == ["'"] * len(FORMULAS)
    assert [cell.replace("'", "") for cell in cells] == FORMULAS


async def test_numbers_stay_as_they_are() -> None:
    texts = ["-5", "+49", "-12.50", "3", "a=1", ""]
    assert await cells_of_csv(*texts) == texts
    answer = pages(reply(row("1", n=-1.5)))
    assert [part async for part in csv_lines(answer, has_header=False)] == [b"1,,-1.5,\r\n"]


@given(st.lists(st.text() | st.text("=+-@;\t\n\ufeff'1a"), min_size=1))
async def test_no_text_is_computed_and_every_text_can_be_had_back(titles: list[str]) -> None:
    for title, cell in zip(titles, await cells_of_csv(*titles), strict=True):
        assert cell.replace("'", "") == title.replace("'", "")
        assert cell[:1] not in set("\t\r\n\x0b\ufeff")
        starts = {part[:1] for part in re.split(r"[;\t\r\n]", cell)}
        is_computed = starts & set("=+-@\uff1d\uff0b\uff0d\uff20")
        assert not is_computed or cell.lstrip("+-").replace(".", "", 1).isdecimal()


async def test_what_another_separator_would_make_a_formula_gets_an_apostrophe_too() -> None:
    texts = ["a;=1+1", "a\t@b", "a\n-1+1", ";=9", "a, =1", "a;b"]
    guarded = ["a;'=1+1", "a\t'@b", "a\n'-1+1", ";'=9", "a, =1", "a;b"]
    assert await cells_of_csv(*texts) == guarded


async def test_a_workbook_holds_texts_as_texts_and_numbers_as_numbers() -> None:
    rows = [row("1", "=1+1", 2.5, ["x"]), row("2", "a", -3, None)]
    with await workbook(pages(reply(*rows)), has_header=True) as file:
        header, first, second = cells_of_sheet(file.read())
    assert [text for _, text in header] == list(COLUMNS)
    assert first == [
        ("inlineStr", "1"),
        ("inlineStr", "=1+1"),
        ("n", "2.5"),
        ("inlineStr", '["x"]'),
    ]
    assert second[2] == ("n", "-3")


async def test_a_workbook_is_sent_as_a_file(client: Any, kernel: Any) -> None:
    kernel.answers["export"] = reply(row("1", True))
    answer = await client.get(PATH, params={"format": "xlsx", "header": "false"})
    assert cells_of_sheet(answer.content) == [[("inlineStr", "1"), ("b", "1")]]
    assert answer.headers["content-disposition"] == 'attachment; filename="task.xlsx"'


async def test_a_text_longer_than_a_cell_is_refused_rather_than_cut() -> None:
    answer = pages(reply(row("1", "x" * (MAX_CELL_CHARACTERS + 1))))
    with pytest.raises(InvalidQuery, match="csv"):
        await workbook(answer, has_header=True)
