"""Policies: their text, refusals with their messages, and the policy of a cell."""

from __future__ import annotations

import re
from random import Random

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import BudgetError, InputError, RangeError, SpecError
from memtrain.planning import packing
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.policy import KEEP_ALL, Policy, read_policy
from memtrain.planning.remat.rematerialisation import smallest_budget
from memtrain.run.allocation import FRESH, PACKED, peak_bytes

MIB = 1024**2


@pytest.fixture(autouse=True, scope="module")
def _short_search():
    """Shorten the search for a small arena, which takes a second each time: any arena is good enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_MOST_ATTEMPTS", 2)
        yield


# -- reading and writing -----------------------------------------------------------------------------

TEXTS = [
    ("none", Policy("none"), "none"),
    ("sqrt", Policy("sqrt"), "sqrt"),
    ("revolve:1", Policy("revolve", 1), "revolve:1"),
    ("revolve:4", Policy("revolve", 4), "revolve:4"),
    ("revolve:007", Policy("revolve", 7), "revolve:7"),
    ("revolve:9999999", Policy("revolve", 9_999_999), "revolve:9999999"),
    ("budget:32MiB", Policy("budget", 32 * MIB), "budget:32MiB"),
    ("budget:33554432", Policy("budget", 32 * MIB), "budget:32MiB"),
    ("budget:32768KiB", Policy("budget", 32 * MIB), "budget:32MiB"),
    ("budget:0.5MiB", Policy("budget", MIB // 2), "budget:512KiB"),
    ("budget:1MB", Policy("budget", 1_000_000), "budget:1000000"),
    ("budget:64 mib", Policy("budget", 64 * MIB), "budget:64MiB"),
    ("budget:1", Policy("budget", 1), "budget:1"),
    ("budget:1TiB", Policy("budget", 1024**4), "budget:1TiB"),
]


@pytest.mark.parametrize(("text", "policy", "canonical"), TEXTS)
def test_a_policy_is_read_and_written_in_one_way_only(text, policy, canonical):
    assert read_policy(text) == policy
    assert str(policy) == canonical
    assert read_policy(canonical) == policy


def test_what_is_written_is_what_is_read():
    rng = Random(1)
    for _ in range(300):
        count = rng.choice((1, 1000, 1024)) ** rng.randint(1, 4) * rng.randint(1, 2000)
        for policy in (Policy("budget", count), Policy("revolve", rng.randint(1, 9_999_999))):
            assert read_policy(str(policy)) == policy


def test_without_a_policy_everything_is_kept():
    assert KEEP_ALL == Policy() == read_policy("none") == read_policy(cell_of().policy)


# -- what is refused ---------------------------------------------------------------------------------

ALL = "The choices are none, sqrt, revolve:4, budget:32MiB."
REFUSED = [
    ("sqr", SpecError, f"policy 'sqr' is not known; did you mean sqrt? {ALL}"),
    ("NONE", SpecError, f"policy 'NONE' is not known; did you mean none? {ALL}"),
    ("revolv:3", SpecError, f"policy 'revolv:3' is not known; did you mean revolve:4? {ALL}"),
    ("budgets:1MiB", SpecError, "did you mean budget:32MiB?"),
    ("checkpointing", SpecError, "is not known; choose none, sqrt, revolve:4 or budget:32MiB"),
    ("", SpecError, "policy '' is not known; choose none, sqrt, revolve:4 or budget:32MiB"),
    ("none:3", SpecError, "policy 'none:3' has a number, and none takes none; write none"),
    ("sqrt:", SpecError, "policy 'sqrt:' has a number, and sqrt takes none; write sqrt"),
    ("revolve", SpecError, "policy revolve lacks its number of checkpoints; write revolve:4, for instance"),
    ("revolve:", SpecError, "policy revolve: lacks its number of checkpoints; write revolve:4, for instance"),
    *(
        (f"revolve:{number}", SpecError, "give from 1 to 9,999,999 checkpoints, as in revolve:4")
        for number in ("0", "000", "-1", "+3", "x", "1.5", " 3", "3:4", "٣", "²")
    ),
    ("revolve:99999999", SpecError, "policy 'revolve:99999999'"),
    ("revolve:" + "9" * 5000, SpecError, "as in revolve:4"),
    ("budget", SpecError, "policy budget lacks its bytes; write budget:32MiB, for instance"),
    ("budget:5M", RangeError, "write 5MiB or 5MB"),
    ("budget:", SpecError, "policy budget: lacks its bytes; write budget:32MiB, for instance"),
    ("budget:much", RangeError, "is not a number of bytes"),
    ("budget:-5", RangeError, "is not a number of bytes"),
    ("budget:0", RangeError, "is no memory at all; give at least 1 byte"),
    ("budget:1.5B", RangeError, "is not a whole number of bytes; write 2"),
    ("budget:9999999TiB", RangeError, "is too large; give less than 8 EiB"),
]


@pytest.mark.parametrize(("text", "error", "said"), REFUSED, ids=[text[:20] for text, _, _ in REFUSED])
def test_what_cannot_be_read_is_refused_with_what_is_allowed_and_what_to_write(text, error, said):
    for read in (read_policy, lambda text: cell_of(policy=text)):
        with pytest.raises(error) as raised:
            read(text)
        assert isinstance(raised.value, InputError)
        assert said in str(raised.value)
        assert "policy" in raised.value.mistake


@pytest.mark.parametrize("given", [None, 3, Policy("sqrt"), ["sqrt"]])
def test_a_cell_refuses_a_policy_that_is_no_text(given):
    with pytest.raises(SpecError, match="is not a text; give 'none'"):
        cell_of(policy=given)


def test_an_unknown_cost_is_refused():
    with pytest.raises(SpecError, match="cost 'time' is not known; choose seconds or flops"):
        cell_of(cost="time")


# -- a budget too small ------------------------------------------------------------------------------

CELLS = [
    cell_of(depth=0, batch=8, cost="flops"),
    cell_of(depth=4, width=16, batch=32, cost="flops"),
    cell_of(depth=9, width=5, batch=40, activation="gelu", bias=True, optimizer="adam", cost="flops"),
    cell_of(depth=6, width=(9, 2, 7, 30, 1, 4), batch=12, update="eager", accumulate=3, cost="flops"),
    cell_of(depth=3, width=8, batch=16, activation="identity", optimizer="momentum", cost="flops"),
]


@pytest.mark.parametrize("allocation", [FRESH, PACKED])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.key(Mode.TRAIN))
def test_a_budget_too_small_says_the_least_that_works_and_that_works(cell, allocation):
    cell = cell.changed(allocation=allocation)
    for small in (1, 1000, smallest_budget(cell.keep_all(Mode.TRAIN)) - 1):
        with pytest.raises(BudgetError) as raised:
            cell.changed(policy=f"budget:{small}").plan(Mode.TRAIN)
        least = raised.value.least_bytes
        assert least > small
        budget = str(Policy("budget", small)).replace(":", " ")
        assert raised.value.mistake.startswith(
            f"{budget} is too small: the smallest plan needs {least:,} B ("
        )
        (remedy,) = re.findall("`--policy (.*?)`", raised.value.remedy)
        assert read_policy(remedy) == Policy("budget", least)
        plan = cell.changed(policy=remedy).plan(Mode.TRAIN)
        assert peak_bytes(analyse(plan.schedule), allocation) <= least
        assert plan.policy == Policy("budget", least)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.key(Mode.TRAIN))
def test_the_least_of_fresh_arrays_is_the_least(cell):
    with pytest.raises(BudgetError) as raised:
        cell.changed(policy="budget:1").plan(Mode.TRAIN)
    least = raised.value.least_bytes
    assert least == smallest_budget(cell.keep_all(Mode.TRAIN))
    with pytest.raises(BudgetError):
        cell.changed(policy=f"budget:{least - 1}").plan(Mode.TRAIN)


# -- cells -------------------------------------------------------------------------------------------


def test_a_cell_has_one_way_to_write_its_policy():
    assert cell_of(policy="budget:33554432") == cell_of(policy="budget:32MiB")
    assert cell_of(policy="budget:33554432").policy == "budget:32MiB"
    assert cell_of(policy="revolve:03").key(Mode.TRAIN) == cell_of(policy="revolve:3").key(Mode.TRAIN)
    assert cell_of(policy="budget:33554432").columns()["policy"] == "budget:32MiB"


def test_a_key_names_the_columns_that_do_not_have_their_defaults_in_their_order():
    assert cell_of().key(Mode.TRAIN) == '{"mode":"train"}'
    given = cell_of(cost="flops", depth=2, width=(3, 4), bias=True, memory_limit_bytes=7, update="eager")
    assert given.key(Mode.INFER) == (
        '{"depth":2,"width":[3,4],"bias":true,"update":"eager","memory_limit_bytes":7,"cost":"flops",'
        '"mode":"infer"}'
    )
    assert cell_of(accumulate=1, cost="seconds", batch=64).key(Mode.TRAIN) == cell_of().key(Mode.TRAIN)


def test_cells_that_differ_have_keys_that_differ():
    cells = [
        cell_of(policy=policy, cost=cost, accumulate=accumulate)
        for policy in ("none", "sqrt", "revolve:1", "revolve:2", "budget:1MiB", "budget:1MB")
        for cost in ("seconds", "flops")
        for accumulate in (1, 2, 4)
    ]
    assert len({cell.key(mode) for cell in cells for mode in Mode}) == len(Mode) * len(cells)


def test_a_cell_is_read_back_from_its_columns():
    cell = cell_of(policy="revolve:3", accumulate=2, cost="flops", depth=2, width=(3, 4))
    values = {**cell.values(), "width": [3, 4]}
    assert cell_of(**values) == cell


def test_only_a_budget_by_time_needs_to_know_the_machine():
    assert cell_of(policy="budget:1MiB").plans_by_time
    for cell in (
        cell_of(),
        cell_of(policy="sqrt"),
        cell_of(policy="revolve:2"),
        cell_of(policy="budget:1MiB", cost="flops"),
    ):
        assert not cell.plans_by_time
    assert not any(cell.plans_by_time for cell in CELLS)


def test_a_row_of_a_cell_says_its_policy_and_predicts_its_peak():
    cell = cell_of(depth=6, width=32, batch=256, policy="revolve:2", cost="flops")
    found = predicted_row(cell, Mode.TRAIN)
    assert found["policy"] == "revolve:2"
    assert found["predicted_peak_bytes"] == analyse(cell.plan(Mode.TRAIN).schedule).peak_bytes
    assert (
        found["predicted_peak_bytes"]
        < predicted_row(cell.changed(policy="none"), Mode.TRAIN)["predicted_peak_bytes"]
    )


@pytest.mark.parametrize("allocation", [FRESH, PACKED])
def test_a_budget_leaves_inference_as_it_is_for_it_recomputes_nothing(allocation):
    cell = cell_of(depth=2, width=4, batch=2, policy="budget:1KiB", allocation=allocation)
    without = cell.changed(policy="none")
    row, other = (predicted_row(found, Mode.INFER) for found in (cell, without))
    assert row.figures == other.figures
    assert row["predicted_peak_bytes"] > 1024
