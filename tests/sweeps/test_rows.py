"""The rows of a sweep in a notebook."""

from __future__ import annotations

from command_line import COLUMNS
from measured_rows import some_rows

from memtrain.sweeps.rows import Rows


def test_rows_show_themselves_as_a_table_and_give_records():
    rows = Rows(some_rows(heap=[1000]))
    html = rows._repr_html_()
    assert html.count("<tr>") == 1 + len(rows)
    assert "<th>heap peak bytes</th>" in html
    assert "<th>width</th>" not in html  # it does not vary
    assert "reason" not in html
    records = rows.to_records()
    assert [record["depth"] for record in records] == [1] * 4 + [2] * 4
    assert list(records[0]) == COLUMNS
    rows[0]["status"], rows[0]["reason"] = "error", "<script>alert(1)</script>"
    assert "&lt;script&gt;" in rows._repr_html_()
    assert "<script>" not in rows._repr_html_()
    assert Rows()._repr_html_().count("<tr>") == 1
