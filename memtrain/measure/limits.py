"""A hard limit on the bytes that a run may allocate. It shows what happens when memory runs out.

The kernel refuses mappings of a process beyond RLIMIT_DATA, and numpy then raises ``MemoryError``. The limit
is the sum of three numbers: the size of the process after warm-up, with the free memory of its heap filled;
the allowed bytes; and a slack for the bytes that the allocator adds to arrays.

The limit is exact for the allocator of glibc, whose heap can be examined and filled. With another allocator
(a preloaded jemalloc, or glibc with huge pages) the free memory of the process is not known. Then the limit
still bounds the process, and a note says that it is not exact.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from memtrain.cells.cell import Cell
from memtrain.cells.row import PAGE_BYTES
from memtrain.errors import MeasureError, MeterUnavailable
from memtrain.graph.node import Role
from memtrain.measure.machine import status_bytes
from memtrain.measure.workload import Bench, Workload, give_back
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.remat.policy import NONE
from memtrain.planning.schedule import Schedule
from memtrain.run.ledger import Ledger

M_TOP_PAD = -2
"""The glibc parameter for the bytes that its heap takes beyond each request."""

LARGEST_HOLE_BYTES = 32 * 1024
"""The largest free block of the heap that is filled. Larger arrays are mapped, or lie at the heap's end."""

SMALLEST_HOLE_BYTES = 1024
"""The smallest free block that is filled. Smaller blocks hold no array."""

HEAP_GROWTH_BYTES = 384 * 1024
"""Bytes by which the heap grows for small objects other than arrays, and for blocks that stay unused."""

MOST_SLACK_BYTES, MOST_SLACK_SHARE = 1024**2, 0.01


def slack_bytes(liveness: Liveness, budget_bytes: int) -> int:
    """Bytes that allocator and interpreter need besides the arrays: a page per array, and some for the heap.

    The slack is at most max(1 MiB, 1 % of the budget).
    """
    wanted = HEAP_GROWTH_BYTES + PAGE_BYTES * liveness.peak_array_count
    return min(wanted, most_slack_bytes(budget_bytes))


def most_slack_bytes(budget_bytes: int) -> int:
    """The largest slack for a budget, in bytes."""
    return max(MOST_SLACK_BYTES, int(MOST_SLACK_SHARE * budget_bytes))


class Watching(Ledger):
    """A ledger that also records the size of the process, which the limit bounds, at each new array."""

    def __init__(self) -> None:
        super().__init__()
        self.step = -1  # no step runs yet
        self.taken_bytes = 0
        """The most bytes by which the process has grown since the call of `begin`."""
        self._before_bytes = 0

    def begin(self) -> None:
        """Record the present size of the process, from which growth is counted."""
        self._before_bytes = status_bytes("VmData")

    def born_shared(self, array: object, role_bytes: Mapping[Role, int]) -> None:
        """Count an array, and record the size of the process."""
        super().born_shared(array, role_bytes)
        self.taken_bytes = max(self.taken_bytes, status_bytes("VmData") - self._before_bytes)


def run_limited(
    bench: Bench, workload: Workload, cell: Cell, iterations: int | None = None
) -> tuple[Watching, list[float | None]]:
    """Run ``workload`` under the memory limit of its cell; returns its ledger and the losses.

    Raises a ``MemoryError`` that names the step at which memory ran out.
    """
    # Warm up with a small network, because the cell itself may need more than all memory.
    small = replace(
        cell, network=cell.network.small(), batch=64, memory_limit_bytes=None, policy=NONE, accumulate=1
    )
    bench.workload(small, workload.mode).warm_up()
    limit_bytes = cell.memory_limit_bytes or 0
    slack = slack_bytes(analyse(workload.schedule), limit_bytes)
    ledger = Watching()
    run = workload.new_run(ledger)  # before the limit, since packing needs memory itself
    workload.reserve()
    gc.collect()
    give_back()
    with data_limit(limit_bytes + slack):
        ledger.begin()
        try:
            losses = workload.run_all(run, iterations)
        except MemoryError as error:
            raise _out_of_memory(workload.schedule, ledger.step, str(error)) from error
    over = ledger.peak_bytes - limit_bytes
    if over > 0:
        said = f"its arrays are {over:,} B over the limit; it ran only because the allocator's slack had room"
        raise _out_of_memory(workload.schedule, ledger.peak_step, said)
    return ledger, losses


class OutOfMemory(MemoryError):
    """Memory ran out while the value ``node`` was computed. ``node`` is empty before the first step."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(message)
        self.node = node


def _out_of_memory(schedule: Schedule, number: int, said: str) -> OutOfMemory:
    """The error for the step ``number``; −1 means before the first step. ``said`` is the original message."""
    if number < 0:
        where, node = "out of memory before the first step, while parameters and inputs were allocated", ""
    else:
        step = schedule.steps[number]
        node = schedule.graph[step.node].name
        where = f"out of memory at step {number + 1} of {len(schedule.steps)}, {step.phase}, {node}"
    return OutOfMemory(node, f"{where}: {said}" if said else where)


@contextmanager
def data_limit(extra_bytes: int) -> Iterator[None]:
    """A context in which this process can allocate ``extra_bytes`` more than it has now, and no more.

    Raises ``MeterUnavailable`` if the system has no such limit, and ``MeasureError`` if it sets a lower one.
    """
    if sys.platform != "linux":
        raise MeterUnavailable("a memory limit needs Linux (RLIMIT_DATA)")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    filler: list[int] = []

    def limit() -> None:
        wanted = min(status_bytes("VmData") + extra_bytes, 2**63 - 1)
        if hard != resource.RLIM_INFINITY and wanted > hard:
            raise MeasureError(
                f"the memory limit needs a process of {wanted:,} B, and the system allows {hard:,} B: "
                "raise it (ulimit -H -d)"
            )
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))

    limit()  # a first limit, so that filling the heap cannot take more than this
    try:
        if inexact_limits() is None:
            _fill_heap(filler)
            limit()  # the exact limit: filling gave pages at the heap's end back
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        for block in filler:
            _libc().free(block)


def inexact_limits() -> str | None:
    """Why a limit is not exact in this process; ``None`` if it is exact.

    It is exact if small blocks come from the heap that glibc grows by ``sbrk`` and that the kernel names.
    """
    libc = _libc()
    block = libc.malloc(SMALLEST_HOLE_BYTES)
    inside = block is not None and any(block in heap for heap in _heaps())
    libc.free(block)
    if inside:
        return None
    return (
        "memory limits are not exact here: the allocator is not glibc's ordinary heap, and its free memory "
        "is not known; unset LD_PRELOAD and GLIBC_TUNABLES for exact limits"
    )


def _fill_heap(filler: list[int]) -> None:
    """Allocate all free memory of the heap, so that a run cannot use memory from before the limit.

    The blocks are added to ``filler``. Together they cannot exceed the size of the heap. From now on the heap
    grows by one page at a time instead of 132 KiB, most of which would be free again.
    """
    libc = _libc()
    libc.mallopt(M_TOP_PAD, 0)
    size, heaps = LARGEST_HOLE_BYTES, _heaps()
    left_bytes = sum(map(len, heaps))
    while size >= SMALLEST_HOLE_BYTES and left_bytes > 0:
        block = libc.malloc(size)
        if block and any(block in heap for heap in heaps):
            filler.append(block)
            left_bytes -= size
            continue
        libc.free(block)  # the block is not inside: no free block of this size is left
        size //= 2
    libc.malloc_trim(0)


def _heaps() -> list[range]:
    """The address ranges of the heap that ``sbrk`` grows, as the kernel lists them."""
    with open("/proc/self/maps", "rb", buffering=0) as file:
        lines = file.readall().decode(errors="replace").splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith("[heap]")]
    return [range(int(start, 16), int(end, 16)) for start, end in spans]


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    return libc
