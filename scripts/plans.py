"""Checks of rematerialisation on networks that are too large for the tests. See `scripts/plans`."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from statistics import median
from time import perf_counter

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.graph.node import Phase, Role
from memtrain.graph.ops import ACTIVATIONS
from memtrain.measure.host import Host
from memtrain.measure.measured import measured_row
from memtrain.measure.pairs import trained_values
from memtrain.measure.workload import Workload
from memtrain.planning.cost import flops
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.remat.chain import chains
from memtrain.planning.remat.checkpoints import revolve, square_root
from memtrain.planning.remat.planner import plan_within
from memtrain.planning.remat.rematerialisation import smallest_budget
from memtrain.planning.remat.replay import replay
from memtrain.planning.remat.stage import stages
from memtrain.training.optimizers import OPTIMIZERS

PLAIN = cell_of(depth=32, width=256, batch=2048, steps=2, cost="flops")
DEEP = cell_of(depth=100, width=256, batch=2048, steps=2, cost="flops")


def main() -> int:
    """Run the requested checks; returns 1 if one fails."""
    host = Host()
    checks: dict[str, Callable[[], bool]] = {
        "bits": bits,
        "budgets": partial(budgets, host),
        "sqrt": partial(deep_sqrt, host),
        "planning": planning,
        "thousand": thousand,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", choices=[*checks, []], help="which; all if none is named")
    wanted = parser.parse_args().checks or list(checks)
    with host:
        return int(not all([checks[name]() for name in wanted]))


def bits() -> bool:
    """All policies, activations and optimisers at depths 1 … 20 give the same bits after two iterations."""
    count, wrong = 0, []
    for depth, activation, optimizer in product(range(1, 21), ACTIVATIONS, OPTIMIZERS):
        cell = cell_of(
            depth=depth, width=12, batch=8, activation=activation, optimizer=optimizer, steps=2, cost="flops"
        )
        schedule = cell.keep_all(Mode.TRAIN)
        least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
        right = trained_bytes(cell)
        for policy in ("sqrt", "revolve:1", "revolve:3", f"budget:{least}", f"budget:{(least + most) // 2}"):
            count += 1
            if trained_bytes(cell.changed(policy=policy)) != right:
                wrong.append(f"{policy} {depth} {activation} {optimizer}")
    print(f"\n{count:,} cells trained for two iterations: {len(wrong)} differ {wrong[:5] or ''}")
    return verdict("gradients, parameters and state are the same bits", not wrong)


def trained_bytes(cell: Cell) -> list[bytes]:
    """The bytes of the gradients of the second iteration, and of parameters and optimiser state after it."""
    return [value.tobytes() for value in trained_values(Workload(cell, Mode.TRAIN)).values()]


def budgets(host: Host) -> bool:
    """For 30 budgets from the smallest to keep-all, predicted = ledger ≤ budget, heap agrees, cost falls."""
    schedule = PLAIN.keep_all(Mode.TRAIN)
    least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
    print(f"\n30 budgets, {sizes_of(PLAIN)}: {least:,} to {most:,} B")
    print(
        f"{'budget B':>12} {'predicted B':>12} {'ledger B':>12} {'heap − budget B':>16} {'FLOPs again':>16}"
    )
    costs, fine = [], True
    for place in range(30):
        budget = least + (most - least) * place // 29
        cell = replace(PLAIN, policy=f"budget:{budget}")
        planned = cell.schedule(Mode.TRAIN)
        again = [planned.graph[step.node] for step in planned.steps if step.phase is Phase.RECOMPUTE]
        costs.append(sum(flops(planned.graph, node) for node in again))
        figures = measured_row(host, cell, Mode.TRAIN, ("ledger", "heap")).figures
        peaks = figures["predicted_peak_bytes"], figures["ledger_peak_bytes"], figures["heap_peak_bytes"]
        predicted, ledger, heap = (peak or 0 for peak in peaks)
        good = predicted == ledger <= budget and heap <= budget + max(budget // 1000, 16 * 1024)
        fine = fine and good and figures["status"] == "ok"
        print(
            f"{budget:>12,} {predicted:>12,} {ledger:>12,} {heap - budget:>+16,} {costs[-1]:>16,}"
            + ("" if good else "  WRONG")
        )
    return verdict("every budget holds", fine) & verdict(
        "the cost never rises with the budget", all(after <= before for before, after in pairwise(costs))
    )


def deep_sqrt(host: Host) -> bool:
    """At depth 100, `sqrt` keeps at most a quarter of the bytes, and takes at most 40 % more time."""
    peaks = {}
    for policy in ("none", "sqrt"):
        cell = DEEP.changed(policy=policy)
        peaks[policy] = kept_peak_bytes(analyse(cell.plan(Mode.TRAIN).schedule))
    cell = DEEP.changed(policy="sqrt")
    ratios = [host.measure("pace", cell, Mode.TRAIN, None, DEEP)["time_ratio"] for _ in range(3)]
    row = measured_row(host, cell, Mode.TRAIN, ("ledger", "heap"))
    kept, fewer = peaks["none"], peaks["sqrt"]
    times = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"\nsqrt, {sizes_of(DEEP)}")
    print(f"retained and recomputed: {kept:,} B, with sqrt {fewer:,} B (÷ {kept / fewer:.2f})")
    print(f"time × {median(ratios):.2f} ({times})")
    for meter in ("predicted", "ledger", "heap"):
        print(f"{meter} peak: {row[f'{meter}_peak_bytes']:,} B")
    return verdict("at least ÷ 4", peaks["none"] >= 4 * peaks["sqrt"]) & verdict(
        "at most 40 % more time", median(ratios) <= 1.4
    )


def planning() -> bool:
    """Planning 100 layers takes at most 2 s."""
    print()
    fine = True
    for activation in ("relu", "gelu"):
        cell = DEEP.changed(activation=activation)
        schedule = cell.keep_all(Mode.TRAIN)
        least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
        taken = []
        for place in range(5):
            budget = least + (most - least) * place // 4
            before = perf_counter()
            cell.changed(policy=f"budget:{budget}").schedule(Mode.TRAIN)
            taken.append(perf_counter() - before)
        print(f"planning 100 layers, {activation}: {', '.join(f'{s:.2f}' for s in taken)} s")
        fine = fine and max(taken) <= 2
    return verdict("100 layers in 2 s", fine)


def thousand() -> bool:
    """Planning 1,000 layers takes at most 60 s and 1 GiB, and no plan is worse than sqrt or revolve."""
    print()
    fine = True
    for activation in ("relu", "gelu"):
        cell = DEEP.changed(depth=1000, activation=activation)
        schedule = cell.keep_all(Mode.TRAIN)
        (chain,) = chains(schedule)
        (numbers,) = stages(schedule, [chain], flops)
        rules = {"sqrt": square_root(len(chain))}
        rules |= {f"revolve:{k}": revolve(len(chain), k) for k in (2, 4, 8, 16, 32, 64, 128, 256, 512)}
        for name, moves in rules.items():
            rule = replay(numbers, moves)
            before = perf_counter()
            found = plan_within(numbers, rule.peak_bytes)
            seconds = perf_counter() - before
            assert found is not None
            ours = replay(numbers, found)
            good = ours.peak_bytes <= rule.peak_bytes and ours.cost <= rule.cost and seconds <= 60
            fine = fine and good
            extra, rule_extra = (100 * (x.cost / sum(s.cost for s in numbers) - 1) for x in (ours, rule))
            print(
                f"{activation}, {rule.peak_bytes / 2**20:8.1f} MiB: {name} +{rule_extra:.0f} % of forward, "
                f"budget +{extra:.0f} %, planned in {seconds:.1f} s" + ("" if good else "  WORSE")
            )
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"resident at most {resident / 2**20:,.0f} MiB")
    return verdict("never worse, within 60 s", fine) & verdict("within 1 GiB", resident <= 2**30)


def sizes_of(cell: Cell) -> str:
    """The text of depth, width and batch."""
    return f"{cell['depth']} layers of {cell['width']}, batch {cell.batch}"


def kept_peak_bytes(liveness: Liveness) -> int:
    """The most bytes of retained and recomputed values at any step."""
    change = [0] * (len(liveness.live_bytes) + 1)
    for life in liveness.lives:
        if life.role in (Role.RETAINED, Role.RECOMPUTED):
            change[life.born_step] += life.node.nbytes
            change[life.freed_step + 1] -= life.node.nbytes
    most = now = 0
    for step in change:
        now += step
        most = max(most, now)
    return most


def verdict(claim: str, holds: bool) -> bool:
    """Print a claim and whether it holds; returns ``holds``."""
    print(f"{claim}: {'yes' if holds else 'NO'}", flush=True)
    return holds


if __name__ == "__main__":
    sys.exit(main())
