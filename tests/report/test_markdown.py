"""Markdown: it shows any name unchanged, and the tables of a sweep."""

from __future__ import annotations

import re
from html import escape as html_escape

import pytest
from markdown_it import MarkdownIt
from measured_rows import some_rows

from memtrain.answers.swept import Swept
from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.report.columns import peak_columns
from memtrain.report.markdown import markdown, markdown_code, markdown_list, markdown_table
from memtrain.report.swept import swept_sections


def test_a_markdown_table_is_aligned_and_its_cells_cannot_break_it():
    table = markdown_table(["a", "long\ntitle"], [["1", "x|y"], ["22", ""]])
    assert table == (
        "|   a | long title |\n| --: | ---------: |\n|   1 |       x\\|y |\n|  22 |            |\n"
    )


EVIL = [
    "a|b",
    "`x` and ``y``",
    "<b>bold</b> & &amp; <script>",
    "=1+1",
    "*a* _b_ __c__ ~~d~~ gelu_tanh",
    "[a](http://b) ![c](d)",
    "\\ \\| \\` $x$",
]
"""Names with a special meaning in markdown, HTML or a spreadsheet."""


def rendered(text):
    """The HTML of markdown, from a parser that shares no code with the writer."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.mark.parametrize("name", EVIL)
def test_whatever_a_name_holds_markdown_shows_it_and_nothing_else(name):
    table = rendered(markdown_table([name, "b"], [[name, "1"]]))
    assert re.findall(r"<t[hd][^>]*>(.*)</t[hd]>", table) == [html_escape(name), "b", html_escape(name), "1"]
    assert rendered(markdown_list([name])) == f"<ul>\n<li>{html_escape(name)}</li>\n</ul>\n"
    assert rendered(markdown_code(name)) == f"<p><code>{html_escape(name)}</code></p>\n"


@pytest.mark.parametrize("name", EVIL)
def test_no_cell_of_the_text_begins_with_a_formula(name):
    cells = markdown_table([name, "b"], [[name, "1"]]).split(" | ")
    assert not any(cell.strip("| \n").startswith("=") for cell in cells)


def test_the_markdown_of_a_sweep_with_any_name_keeps_its_form():
    rows = some_rows()
    for row in rows[:4]:
        row.cell = row.cell.changed(data="`<i>`|x.npz")
    rows[0]["status"], rows[0]["reason"] = "error", "<b>`|boom"
    page = rendered(markdown(swept_sections(Swept(rows)), "memtrain sweep --data '`<i>`|x.npz'"))
    assert "<i>" not in page
    assert "<b>" not in page
    assert page.startswith("<p><code>memtrain sweep --data '`&lt;i&gt;`|x.npz'</code></p>")
    assert page.count("<td") == page.count("<th ") * 4
    assert "error: &lt;b&gt;`|boom</li>" in page


def test_the_markdown_of_a_sweep_has_a_line_per_cell_and_the_findings():
    text = markdown(swept_sections(Swept(some_rows())), "memtrain sweep")
    lines = text.splitlines()
    assert lines[0] == "`memtrain sweep`"
    assert sum(line.startswith("|") for line in lines) == 2 + 4
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert any(line.startswith("- The ratio is largest") for line in lines)


@pytest.mark.parametrize(
    ("ran", "unit", "retained"),
    [([], "TiB", "23.84"), ([cell_of(depth=1, batch=1024)], "MiB", "23.8 TiB")],
)
def test_what_a_cell_beyond_memory_retains_has_a_unit(ran, unit, retained):
    """Depth 100, width 65,536, a million examples: 4·(100·65,536 + 10)·10⁶ = 26,214,440,000,000 B."""
    rows = [
        predicted_row(cell, Mode.TRAIN) for cell in (*ran, cell_of(depth=100, width=65536, batch=1000000))
    ]
    rows[-1]["status"] = "memory_limit"
    columns = dict(peak_columns(rows))
    assert columns[f"retained\n{unit}"]({Mode.TRAIN: rows[-1]}) == retained
    assert columns[f"train\n{unit}"]({Mode.TRAIN: rows[-1]}) == "limit"
