"""Rows from fake meters: every way in which a meter can end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_host import FakeHost

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.columns import FIGURE_NAMES, NAMES
from memtrain.cells.row import predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.graph.node import Role
from memtrain.measure.client import figures_of
from memtrain.measure.measured import HEAP_SLACK_BYTES, measured_row
from memtrain.planning.liveness import analyse
from memtrain.report.findings import findings
from memtrain.sweeps.runner import run_tasks
from memtrain.sweeps.sweep import make_tasks, run_sweep

CONTRACT = [
    "model",
    "depth",
    "width",
    "batch",
    "activation",
    "bias",
    "optimizer",
    "l2",
    "dtype",
    "data",
    "input_size",
    "output_size",
    "policy",
    "update",
    "allocation",
    "threads",
    "steps",
    "seed",
    "memory_limit_bytes",
    "mode",
    "status",
    "reason",
    "parameter_bytes",
    "gradient_bytes",
    "optimizer_bytes",
    "input_bytes",
    "retained_bytes",
    "baseline_bytes",
    "predicted_peak_bytes",
    "ledger_peak_bytes",
    "heap_peak_bytes",
    "resident_peak_bytes",
    "peak_parameter_bytes",
    "peak_gradient_bytes",
    "peak_optimizer_bytes",
    "peak_input_bytes",
    "peak_retained_bytes",
    "peak_transient_bytes",
    "peak_workspace_bytes",
    "peak_phase",
    "peak_step",
    "step_s",
    "loss_first",
    "loss_last",
    "blas",
    "cpu",
    "python",
    "numpy",
    "memtrain",
    "repeat_count",
    "ledger_spread_bytes",
    "heap_spread_bytes",
    "resident_spread_bytes",
    "step_spread_s",
    "peak_recomputed_bytes",
    "accumulate",
    "cost",
    "peak_array_count",
    "image",
    "channels",
    "kernel",
    "pool",
    "norm",
    "heads",
    "sequence",
    "vocabulary",
    "dropout",
    "attention",
    "tied",
    "unit",
    "freeze",
    "engine",
    "foreach",
    "fused",
    "inplace",
    "gradients",
    "retain_graph",
]

ENVIRONMENT = {"blas": "b", "cpu": "c", "python": "p", "numpy": "n", "memtrain": "m"}


def fake(heap_extra=0, ledger_extra=0, **raises):
    """A ``measure`` function that gives the predicted figures, or raises the error given for a meter."""

    def measure(meter, cell, mode, timeout_s):
        if meter in raises:
            raise raises[meter]
        liveness = analyse(cell.schedule(mode))
        peak = liveness.peak_bytes
        return {
            "ledger": {
                "ledger_peak_bytes": peak + ledger_extra,
                **{f"peak_{role}_bytes": count for role, count in liveness.peak_role_bytes.items()},
                "environment": ENVIRONMENT,
            },
            "heap": {"heap_peak_bytes": peak + heap_extra},
            "resident": {"resident_peak_bytes": peak, "baseline_bytes": 1},
            "time": {"step_s": 0.5},
        }[meter]

    return measure


def row_of(measure, mode=Mode.TRAIN, **options):
    return measured_row(FakeHost(measure), cell_of(depth=2), mode, **options)


def test_the_columns_are_the_contract():
    assert list(NAMES) == CONTRACT


def test_a_good_cell_has_every_figure():
    row = row_of(fake())
    assert row.ok
    assert row["status"] == "ok"
    assert row["reason"] == ""
    assert row["step_s"] == 0.5
    assert sum(row[f"peak_{role}_bytes"] for role in Role) == row["ledger_peak_bytes"]
    assert row["blas"] == "b"


def test_totals_are_zero_where_there_is_none_and_the_keys_of_modes_differ():
    infer = predicted_row(cell_of(depth=2), Mode.INFER)
    assert infer["gradient_bytes"] == infer["retained_bytes"] == infer["optimizer_bytes"] == 0
    assert infer["input_bytes"] == 64 * 64 * 4
    train = predicted_row(cell_of(depth=2), Mode.TRAIN)
    assert train["gradient_bytes"] == train["parameter_bytes"]
    assert train["input_bytes"] == 64 * 64 * 4 + 64 * 8
    assert cell_of().key(Mode.TRAIN) != cell_of().key(Mode.INFER)
    assert cell_of().key(Mode.TRAIN) == cell_of(depth=1, batch=64).key(Mode.TRAIN)
    assert cell_of(depth=2, width=(8, 4)).columns()["width"] == "8-4"


def test_what_was_not_asked_for_is_missing_and_not_zero():
    row = row_of(fake(), meters=("ledger",))
    assert row.ok
    assert (
        row["heap_peak_bytes"] is row["resident_peak_bytes"] is row["step_s"] is row["baseline_bytes"] is None
    )


def test_an_unavailable_meter_leaves_its_column_empty_and_a_note():
    row = row_of(fake(resident=MeterUnavailable("no /proc here")))
    assert row.ok
    assert row["resident_peak_bytes"] is None
    assert row.notes == ["no /proc here"]
    assert row["heap_peak_bytes"] is not None


@pytest.mark.parametrize("status", ["killed", "timeout", "error", "memory_limit"])
def test_a_cell_whose_ledger_fails_is_a_row_with_status_reason_and_prediction(status):
    row = row_of(fake(ledger=ChildFailed(status, "so it was")))
    assert (row["status"], row["reason"]) == (status, "so it was")
    assert row["predicted_peak_bytes"] > 0
    measured = FIGURE_NAMES[7:]
    predicted = ("predicted_peak_bytes", "peak_array_count")
    assert all(row[name] is None for name in measured if name not in predicted)


def test_a_meter_that_fails_later_empties_its_column_and_marks_the_row():
    row = row_of(fake(heap=ChildFailed("killed", "by someone")))
    assert (row["status"], row["reason"]) == ("killed", "by someone")
    assert row["heap_peak_bytes"] is None
    assert row["resident_peak_bytes"] is not None


def test_a_heap_figure_below_the_ledger_is_taken_back():
    assert row_of(fake(heap_extra=-HEAP_SLACK_BYTES)).ok
    row = row_of(fake(heap_extra=-HEAP_SLACK_BYTES - 1))
    assert row["status"] == "error"
    assert row["heap_peak_bytes"] is None
    assert "memray counted" in row["reason"]


def test_a_ledger_that_differs_from_the_prediction_is_an_error():
    row = row_of(fake(ledger_extra=4))
    assert row["status"] == "error"
    assert "predicted" in row["reason"]


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        ({"status": -9, "output": "", "messages": ""}, "killed", "SIGKILL"),
        ({"status": -11, "output": "", "messages": ""}, "killed", "SIGSEGV"),
        ({"status": 1, "output": "garb", "messages": "boom"}, "error", "no figures \\(boom\\)"),
        ({"status": 0, "output": '{"memory_error": "no room"}', "messages": ""}, "memory_limit", "no room"),
        ({"status": 1, "output": '{"error": "broken"}', "messages": ""}, "error", "broken"),
        (
            {"status": 1, "output": "", "messages": "OpenBLAS: malloc failed in gemm"},
            "memory_limit",
            "malloc failed",
        ),
        (
            {
                "status": 0,
                "output": '{"figures": {"heap_peak_bytes": 7}}',
                "messages": "hello\nmemray: Failed to write output, deactivating tracking",
            },
            "error",
            "Failed to write output",
        ),
        (
            {"status": 0, "output": '{"figures": {"heap_peak_bytes": 7}}', "messages": "Memray ERROR: no"},
            "error",
            "Memray ERROR: no",
        ),
    ],
)
def test_every_way_in_which_a_child_can_end_has_its_status(reply, status, words):
    with pytest.raises(ChildFailed, match=words) as caught:
        figures_of("heap", reply)
    assert caught.value.status == status


def test_a_fake_meter_drives_a_whole_sweep_and_one_bad_cell_does_not_stop_it():
    good = fake()

    def measure(meter, cell, mode, timeout_s):
        if cell["depth"] == 2:
            raise ChildFailed("killed", "bad luck")
        return good(meter, cell, mode, timeout_s)

    tasks = make_tasks([cell_of(depth=depth) for depth in (1, 2, 3)], "both")
    begun, done = [], []
    rows = run_sweep(
        FakeHost(measure),
        tasks,
        meters=("ledger", "heap"),
        jobs=2,
        started=lambda cell, mode: begun.append((cell, mode)),
        finished=done.append,
    )
    assert [(row.cell, row.mode) for row in rows] == tasks
    assert [row.ok for row in rows] == [True, True, False, False, True, True]
    assert begun[0] == tasks[0]
    assert sorted(map(id, done)) == sorted(map(id, rows))


def test_tasks_that_nobody_waits_for_are_cancelled():
    calls = []

    def measure_row(cell, mode):
        calls.append(cell)
        return predicted_row(cell, mode)

    tasks = make_tasks([cell_of(depth=1 + i % 3, seed=i) for i in range(200)], "train")
    with ThreadPoolExecutor(1) as executor:
        for _ in run_tasks(tasks, executor, measure_row):
            break
    assert len(calls) < len(tasks)


@pytest.mark.parametrize(("extra", "words"), [(16 * 1024, "agree. "), (17 * 1024, "do NOT all agree. ")])
def test_the_meters_are_said_to_agree_only_within_what_is_promised(extra, words):
    said = findings([row_of(fake(heap_extra=extra))], [])[-1]
    assert f"The meters {words}The ledger equals the prediction in 1 of 1 rows." in said
    if extra == 16 * 1024:
        assert (
            "The heap peak is at most 16 KiB and the resident peak is at most 0 B from the ledger: within"
            in said
        )
    else:
        assert (
            "In 1 of 1 rows, the heap peak is farther from the ledger than the tolerance of "
            "max(0.1 %, 16 KiB + 32 B per array); the largest difference is 17 KiB."
        ) in said
    assert "BLAS requests" not in said


def test_with_two_threads_it_is_said_what_the_heap_holds_besides():
    row = measured_row(FakeHost(fake(heap_extra=525_000)), cell_of(depth=2, threads=2), Mode.TRAIN)
    assert "With more than one thread, BLAS requests memory of its own." in findings([row], [])[-1]
