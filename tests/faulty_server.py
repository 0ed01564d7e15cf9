"""A measuring server whose children fail in one meter for cells of depth 2. FAULT names the failure."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from types import SimpleNamespace

from memtrain.measure import meters, server, workload

METER, _, FAULT = os.environ["FAULT"].partition(":")
WELL = server.ANSWERS[METER]


def garbage(bench, cell, mode):
    server.json = SimpleNamespace(dump=lambda answer, pipe: pipe.write('{"figures": 7 torn'))
    return {}


def no_object(bench, cell, mode):
    server.json = SimpleNamespace(dump=lambda answer, pipe: pipe.write("[1, 2]"))
    return {}


def no_memory(bench, cell, mode):
    raise MemoryError("Unable to allocate 8.00 EiB")


def says(text):
    """The measurement succeeds, but something is written to stderr."""

    def answer(bench, cell, mode):
        figures = WELL(bench, cell, mode)
        print(text, file=sys.stderr, flush=True)
        return figures

    return answer


def stops_early(bench, cell, mode):
    """memray stops its tracking during the run, without a message."""
    import memray

    class Brief:
        def __init__(self, path, tracker=memray.Tracker):
            self.tracker = tracker(path)

        def __enter__(self):
            self.tracker.__enter__()
            Brief.last = self

        def __exit__(self, *exception):
            if self.tracker is not None:
                self.tracker.__exit__(*exception)
                self.tracker = None

    def iterate_all(self, run, iterations=None):
        self.iterate(run, 0)
        Brief.last.__exit__(None, None, None)
        self.iterate(run, 1)

    memray.Tracker = Brief
    workload.Workload.iterate_all = iterate_all
    return WELL(bench, cell, mode)


def no_control(bench, cell, mode):
    meters.CONTROL_BYTES = 4 * 1024**2
    meters.np = SimpleNamespace(**vars(meters.np))
    empty = meters.np.empty
    meters.np.empty = lambda size, dtype: empty(1 if size == meters.CONTROL_BYTES else size, dtype)
    return WELL(bench, cell, mode)


def small_files(bench, cell, mode):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    return WELL(bench, cell, mode)


def unguarded(bench, cell, mode):
    meters.check_space = lambda folder, needed_bytes: None
    return WELL(bench, cell, mode)


def hang_elsewhere(bench, cell, mode):
    """Hangs for cells that only the law measures."""
    if cell["depth"] in (4, 8) and cell.batch == 64:
        return WELL(bench, cell, mode)
    time.sleep(1000)
    return {}


FAULTS = {
    "hang_elsewhere": hang_elsewhere,
    "sigkill": lambda bench, cell, mode: os.kill(os.getpid(), signal.SIGKILL),
    "sigsegv": lambda bench, cell, mode: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": no_memory,
    "hang": lambda bench, cell, mode: time.sleep(1000),
    "garbage": garbage,
    "no_object": no_object,
    "fails": says("memray: Failed to write output, deactivating tracking"),
    "remarks": says("Memray WARNING: Correcting symbol for malloc from 0x41f610 to 0x7f14bfc96930"),
    "chats": says(
        "import time:       142 |        142 |   zipimport\nimport time:       7 |     7 |   codecs"
    ),
    "stops_early": stops_early,
    "no_control": no_control,
    "small_files": small_files,
    "unguarded": unguarded,
}


def faulty(bench, cell, mode):
    if cell["depth"] == 2 or FAULT == "hang_elsewhere":
        return FAULTS[FAULT](bench, cell, mode)
    return WELL(bench, cell, mode)


if __name__ == "__main__":
    server.ANSWERS[METER] = faulty
    server.main()
