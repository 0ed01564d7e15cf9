"""Threads that compute beside the thread of a run.

A matrix product uses the threads of BLAS. An elementwise step has none in numpy, but it lets go of Python's
global lock, so its shares can run at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from weakref import finalize

from memtrain.graph.ops.base import Call

_Done = SimpleQueue[BaseException | None]
_Given = SimpleQueue[tuple[Context, Call, _Done] | None]


class Helpers:
    """``count`` threads. They end when nothing refers to this object or to a call that it made."""

    def __init__(self, count: int) -> None:
        self._given: list[_Given] = [SimpleQueue() for _ in range(count)]
        for given in self._given:
            Thread(target=_serve, args=(given,), daemon=True).start()
        finalize(self, _end, self._given)

    def together(self, calls: Sequence[Call]) -> Call:
        """One call that runs the first of ``calls`` itself and each other one in a helper's thread."""
        own, *others = calls
        return partial(self._run, own, others) if others else own

    def _run(self, own: Call, others: Sequence[Call]) -> None:
        """Run all calls. Raises what one of them raised."""
        done: _Done = SimpleQueue()
        for given, call in zip(self._given, others, strict=False):
            given.put((copy_context(), call, done))  # numpy's error settings belong to a context
        try:
            own()
        finally:
            raised = [done.get() for _ in others]
        for error in raised:
            if error is not None:
                raise error


def _serve(given: _Given) -> None:
    """Run calls until the helpers end."""
    while (task := given.get()) is not None:
        context, call, done = task
        done.put(_outcome(partial(context.run, call)))
        del task, context, call, done  # an idle thread holds no array


def _outcome(call: Callable[[], object]) -> BaseException | None:
    """What ``call`` raises; ``None`` if it succeeds."""
    try:
        call()
    except BaseException as error:
        return error
    return None


def _end(given: Sequence[_Given]) -> None:
    for queue in given:
        queue.put(None)
