"""Admission: the memory that a run needs besides its peak, by hand, and the messages if it is missing."""

from __future__ import annotations

import pytest
from fake_host import FakeHost

from memtrain.answers.capacity import find_capacity
from memtrain.answers.confirm import confirm
from memtrain.answers.swept import swept
from memtrain.answers.trial import measure_ways
from memtrain.answers.ways import find_ways
from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import NotTried
from memtrain.measure import machine
from memtrain.measure.admission import admitted, lacking, needed_bytes
from memtrain.measure.machine import Room
from memtrain.measure.measured import measured_row

CELL = cell_of(depth=1, width=8, batch=16, steps=5, cost="flops")
PARAMETERS = 4 * (64 * 8 + 8 * 10)
BATCH = 16 * (4 * 64 + 8)
"""16 images of 64 pixels in float32, and their labels in int64."""


def row_of(cell=CELL, mode=Mode.TRAIN):
    return predicted_row(cell, mode)


def free(monkeypatch, count):
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: count)


def refuse(meter, cell, mode, timeout_s):
    raise AssertionError(f"the {meter} meter was asked")


def test_a_run_needs_its_peak_its_start_values_and_a_batch_for_each_step_and_one():
    peak = row_of()["predicted_peak_bytes"]
    assert needed_bytes(row_of()) == peak + PARAMETERS + 6 * BATCH
    more = CELL.changed(steps=105)
    assert needed_bytes(row_of(more)) == needed_bytes(row_of()) + 100 * BATCH
    infer = row_of(mode=Mode.INFER)
    assert needed_bytes(infer) == infer["predicted_peak_bytes"] + PARAMETERS + 6 * 16 * 4 * 64


def test_a_run_that_needs_all_that_is_free_is_admitted_and_one_that_needs_a_byte_more_is_not(monkeypatch):
    needed = needed_bytes(row_of())
    free(monkeypatch, needed)
    with admitted(Room(), row_of()):
        pass
    free(monkeypatch, needed - 1)
    with pytest.raises(NotTried, match=r"^not tried: needs [^`]* free$"), admitted(Room(), row_of()):
        pytest.fail("it was admitted")


def test_two_networks_in_one_process_need_the_memory_of_both(monkeypatch):
    needed = 2 * needed_bytes(row_of())
    free(monkeypatch, needed)
    with admitted(Room(), row_of(), row_of()):
        pass
    free(monkeypatch, needed - 1)
    with (
        pytest.raises(NotTried, match=r"^time not compared: needs .* \(2 networks side by side\)"),
        admitted(Room(), row_of(), row_of(), what="time not compared"),
    ):
        pytest.fail("they were admitted")


def test_the_words_tell_the_need_from_the_peak_of_the_table():
    row = row_of(cell_of(depth=1, width=256, batch=1024))
    row["predicted_peak_bytes"] = 3 * 2**20
    row["parameter_bytes"] = 2**20
    row["input_bytes"] = 2**18
    assert lacking([row], 5 * 2**20) is None
    assert lacking([row], 3 * 2**20) == (
        "needs 5 MiB of memory (peak 3 MiB, initial values and batches 2 MiB), 3 MiB free"
    )


def test_the_option_that_tries_it_is_named_only_where_there_is_such_an_option_and_tries_the_run(monkeypatch):
    free(monkeypatch, 1)
    for force, end in ((None, "free"), (False, "(`--ignore-free-memory` tries it)")):
        with pytest.raises(NotTried) as caught, admitted(Room(), row_of(), force=force):
            pytest.fail("it was admitted")
        assert str(caught.value).endswith(end)
    with admitted(Room(), row_of(), force=True):
        pass


def test_memory_is_held_while_a_run_is_admitted_and_given_back_however_it_ends(monkeypatch):
    free(monkeypatch, 10**9)
    room, row = Room(), row_of()
    held = []

    def run():
        with admitted(room, row):
            held.append(room._taken_bytes)
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert (held, room._taken_bytes) == ([needed_bytes(row)], 0)


# -- every run needs admission -------------------------------------------------------------------------


def test_no_run_of_any_kind_is_tried_without_the_memory(monkeypatch):
    free(monkeypatch, 1000)
    host = FakeHost(refuse)
    row = measured_row(host, CELL, Mode.TRAIN)
    assert (row["status"], row["reason"].startswith("not tried: needs ")) == ("memory_limit", True)
    assert row["ledger_peak_bytes"] is None

    frontier = confirm(host, find_capacity(CELL, 2**20, [1], []), jobs=1)
    assert all("not tried: needs" in boundary.inside_reason for boundary in frontier.boundaries)
    assert all(boundary.confirmed_outside is None for boundary in frontier.boundaries)

    fit = measure_ways(host, find_ways(CELL, None))
    assert all("not tried: needs" in option.row["reason"] for option in fit.options)

    rows = [row_of(cell_of(depth=depth, batch=batch)) for depth in (2, 4, 8) for batch in (512, 1024)]
    for each in rows:
        each["heap_peak_bytes"] = each["predicted_peak_bytes"]
    swept(host, rows)  # it would measure more cells


def test_a_pair_is_not_compared_without_the_memory_for_both(monkeypatch):
    """There is memory for each of the two cells, but not for both."""
    small = CELL.changed(depth=6, width=32)
    fit = find_ways(small, None)
    needed = max(needed_bytes(row_of(option.cell)) for option in fit.options)
    free(monkeypatch, needed + 10)

    def ledger_only(meter, cell, mode, timeout_s):
        peak = row_of(cell, mode)["predicted_peak_bytes"]
        return {"step_s": 1.0} if meter == "time" else {f"{meter}_peak_bytes": peak}

    (lever, *_) = measure_ways(FakeHost(ledger_only), fit).levers
    assert lever.row.ok
    (note,) = lever.notes
    assert note.startswith("time not compared: needs ")
    assert "2 networks side by side" in note
