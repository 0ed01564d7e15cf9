"""Plausible mistakes on the command line: each gives one plain line with the mistake and the remedy."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import called, memtrain

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.sweeps.store import rows_csv

MISTAKES = [
    # bytes
    ("plan --memory 64M", "--memory '64M' unit M", "64MiB or 64MB"),
    ("plan --memory 64Mi", "--memory '64Mi' unit Mi", "64MiB or 64MB"),
    ("plan --memory 64mo --depth 2", "unit mo", "64MiB or 64MB"),
    ("plan --memory 64 MiB", "--memory space", "--memory 64MiB"),
    ("frontier --memory 0", "--memory '0' no memory", "64MiB"),
    ("frontier --memory -5", "--memory '-5' not a number of bytes", "64MiB"),
    ("frontier --memory lots", "--memory 'lots' not a number of bytes", "64MiB"),
    ("frontier --memory 99999999999999999999", "--memory too large", "less than 8 EiB"),
    ("frontier --memory 1.5", "--memory '1.5' not a whole number of bytes", "write 2"),
    ("sweep --memory-limit 64M", "--memory '64M'", "64MiB or 64MB"),
    # ranges and lists
    ("sweep --batch 64:1024", "--batch '64:1024' without a step", "64:1024:x2 or 64:1024:+1"),
    ("sweep --batch 1:16:2", "--batch '1:16:2' step without x or +", "1:16:x2 or 1:16:+2"),
    ("sweep --batch 16:1:x2", "--batch '16:1:x2' backwards", "write 1:16:x2"),
    ("sweep --batch 1..16", "--batch '1..16' not a whole number", "1:16:x2 or 1:16:+1"),
    ("sweep --batch 1-16", "--batch '1-16' not a whole number", "1:16:x2 or 1:16:+1"),
    ("sweep --depth '1;2'", "--depth '1;2' not a whole number", "write 1,2"),
    ("sweep --depth '1 2 4'", "--depth '1 2 4' not a whole number", "write 1,2,4"),
    ("sweep --depth 1 4", "--depth space", "write --depth 1,4"),
    ("sweep --depth 1, 4", "--depth space", "write --depth 1,4"),
    ("sweep --width 256x256", "--width '256x256' not a whole number", "(2,4,8)"),
    ("sweep --depth=", "--depth empty", "(8)"),
    ("sweep --depth 1,,4", "--depth '1,,4' empty part", "write 1,4"),
    ("sweep --depth 0:8:x2", "--depth '0:8:x2' never ends", "start at 1 or more"),
    ("sweep --depth 1:1000000:+1", "--depth 1,000,000 values", "10,000"),
    ("sweep --depth 1e3", "--depth '1e3' not a whole number", "(8)"),
    (f"sweep --batch {'9' * 400}", "--batch '999 too large", "at most"),
    ("sweep --l2 -1", "--l2 '-1' not a finite number", "0.001"),
    ("sweep --depth 1:2000:+1 --batch 1:2000:+1", "4,000,000 cells", "fewer values"),
    # one value, and several
    ("explain --depth 1,4", "--depth one number '1,4'", "memtrain sweep` takes lists"),
    ("explain --depth two", "--depth 'two'", "whole number ≥ 0"),
    ("explain --width 256x256", "--width '256x256'", "whole number ≥ 1"),
    ("explain --depth -1", "--depth '-1'", "whole number ≥ 0"),
    ("explain --depth 2.5", "--depth '2.5'", "whole number ≥ 0"),
    ("explain --batch 0", "--batch '0'", "whole number ≥ 1"),
    ("explain --depth 1000000", "depth 1,000,000", "at most 100,000"),
    ("explain --activation relu,gelu", "--activation 'relu,gelu' one value", "memtrain sweep` takes lists"),
    ("train --batch 1:8:x2", "--batch one number '1:8:x2'", "memtrain sweep` takes lists"),
    # words
    ("explain --activation ReLU", "activation 'ReLU'", "did you mean relu?"),
    ("explain --activation swish", "activation 'swish'", "did you mean silu?"),
    ("explain --activation foo", "activation 'foo'", "choose relu, tanh, mish"),
    ("train --optimizer Adam", "optimizer 'Adam'", "did you mean adam?"),
    ("train --optimizer adamw", "optimizer 'adamw'", "did you mean adam?"),
    ("explain --dtype fp16", "dtype 'fp16'", "choose float32 or float64"),
    ("explain --dtype float16", "dtype 'float16'", "choose float32 or float64"),
    ("explain --dtype f32", "dtype 'f32'", "did you mean float32?"),
    ("sweep --mode training", "mode 'training'", "did you mean train?"),
    ("sweep --meters cpu", "meter 'cpu'", "choose ledger, heap, resident or time"),
    ("sweep --model vgg", "model 'vgg'", "mlp"),
    ("explain --policy budget", "policy budget lacks bytes", "budget:32MiB"),
    ("explain --policy budget:64M", "policy budget '64M'", "64MiB or 64MB"),
    ("explain --policy revolve", "policy revolve lacks", "revolve:4"),
    ("explain --policy sqrt:3", "policy 'sqrt:3'", "write sqrt"),
    ("explain --policy checkpoint", "policy 'checkpoint'", "choose none, sqrt, revolve:4 or budget:32MiB"),
    ("explain --policy budget:2KiB", "budget 2KiB is too small", "--policy budget: smaller `--batch`"),
    # layers
    ("explain --layers 784", "--layers 784 one size", "784,512,10"),
    ("explain --layers 784,10,", "--layers '784,10,' empty part", "write 784,10"),
    ("explain --layers 784-512-10", "--layers '784-512-10' not a whole number", "write 784,512,10"),
    ("explain --layers 784x10", "--layers '784x10' not a whole number", "write 784,10"),
    ("sweep --layers 784,10 --depth 2", "--layers already gives every size", "drop --layers or --depth"),
    ("explain --layers 64,8,10 --data digits", "--data digits already", "drop --layers"),
    ("explain --input-size 5 --data digits", "--data digits already", "drop --input-size"),
    ("explain --accumulate 3 --batch 64", "accumulate 3 does not divide 64", "use accumulate 2"),
    # data
    ("train --data mnist", "'mnist'", "digits, path of a .csv or .npz"),
    ("train --data missing.csv", "missing.csv does not exist", "check the path"),
    ("train --data folder", "'folder' a directory", ".csv or .npz"),
    ("train --data folder.csv", "folder.csv a directory", ".csv or .npz"),
    ("train --data book.xlsx", "book.xlsx", ".csv or .npz"),
    ("train --data empty.csv", "empty.csv is empty", "at least one example"),
    ("train --data text.csv", "text.csv 'red'", "plain numbers"),
    ("train --data ragged.csv", "ragged.csv example 2 has 2 values", "the same number"),
    ("train --data no-x.npz", "no-x.npz no array x", "np.savez"),
    ("train --data gap.csv", "gap.csv labels 0, 2", "0…1"),
    # files
    ("sweep --export-csv no/such/x.csv", "no/such", "mkdir -p"),
    ("sweep --export-csv taken.csv", "taken.csv exists already", "--force"),
    ("sweep --export-csv folder", "--export-csv folder is a directory", "path of a file"),
    ("sweep --export-csv x.csv --export-json x.csv", "x.csv --export-csv --export-json", "another file"),
    ("sweep --json --export-csv -", "--json --export-csv stdout", "name a file"),
    ("report", "RESULTS", "memtrain report"),
    ("report text.csv", "text.csv no rows of a sweep", "memtrain sweep` wrote"),
    ("report model.npz", "model.npz", "memtrain sweep` wrote"),
    ("report missing.csv", "missing.csv No such file", "memtrain sweep` wrote"),
    ("report taken.csv -o taken.csv", "taken.csv", "name another"),
    ("predict", "MODEL", "memtrain predict model.npz"),
    ("predict text.csv", "text.csv", "memtrain train --save` wrote"),
    ("predict missing.npz", "missing.npz", "memtrain train --save` wrote"),
    ("compare before.csv", "AFTER", "memtrain compare before.csv after.csv"),
    ("compare before.csv before.csv before.csv", "'before.csv'", "BEFORE and AFTER only"),
    ("compare before.csv after.csv", "no cell and mode in common", "measure"),
    ("compare before.csv before.csv --fail-over 5", "--fail-over '5'", "write 5%"),
    ("compare before.csv before.csv --fail-over abc", "--fail-over 'abc'", "5%"),
    ("sweep --resume missing.csv", "--resume missing.csv.journal", "CSV of a sweep"),
    ("sweep --resume x.csv --depth 3", "--resume records", "drop --depth"),
    ("sweep --config missing.toml", "missing.toml", "TOML"),
    ("sweep --config bad.toml", "bad.toml is not valid TOML line 1", "depth = [1, 4]"),
    ("sweep --config key.toml", "key.toml 'dpeth'", "did you mean depth?"),
    ("sweep --config type.toml", "type.toml bias = 'perhaps'", "true or false"),
    ("sweep --config number.toml", "number.toml html = 7", "a path in quotes"),
    ("train --save model.h5", "--save model.h5", "model.npz"),
    ("train --save no/model.npz", "--save no", "mkdir -p"),
    # numbers
    ("sweep --repeat 0", "--repeat 0", "from 1 to 1,000"),
    ("sweep --repeat x", "--repeat 'x'", "whole number"),
    ("sweep --jobs 0", "--jobs 0", "from 1 to 64"),
    ("sweep --timeout 0", "--timeout 0", "seconds above 0"),
    ("sweep --timeout -1", "--timeout -1", "seconds above 0"),
    ("sweep --timeout nan", "--timeout nan", "seconds above 0"),
    ("sweep --timeout 5min", "--timeout '5min'", "a number"),
    ("train --lr abc", "--lr 'abc'", "a number"),
    ("train --lr 0", "--lr 0", "> 0"),
    ("train --lr -1", "--lr -1", "> 0"),
    ("train --epochs 0", "--epochs '0'", "≥ 1"),
    ("plan --pareto --points 1", "--points '1'", "from 2 to 200"),
    ("sweep --threads 2 --memory-limit 64MiB", "2 one thread", "drop --threads"),
    # options that are missing, or do not go together
    ("plan", "--memory or --pareto", "--memory 64MiB"),
    ("frontier", "--memory", "memtrain frontier --memory"),
    ("explain --backward", "--backward", "--svg FILE or --dot FILE"),
    ("sweep -q -v", "-q -v", "drop one"),
    ("sweep --depth", "--depth lacks its value", "memtrain sweep --depth"),
    ("sweep --depth --batch 4", "--depth lacks its value", "memtrain sweep --depth"),
    ("explain --depth --batch 4", "--depth lacks its value", "memtrain explain --depth"),
    ("sweep --bias=yes", "--bias no value", "--bias or --no-bias"),
    ("sweep --bias true", "--bias no value", "--bias or --no-bias"),
    # names
    ("swep", "'swep'", "did you mean sweep?"),
    ("measure", "'measure'", "sweep, report, explain"),
    ("--depth 4", "--depth is an option of a command", "memtrain explain --depth"),
    ("sweep --depht 2", "--depht", "did you mean --depth?"),
    ("sweep -depth 4", "-depth two dashes", "write --depth"),
    ("sweep –depth 4", "'–depth' long dash", "write --depth"),
    ("sweep depth 4", "'depth' is an option", "write --depth"),
    ("sweep --batch-size 4", "--batch-size", "did you mean --batch?"),
    ("sweep --wibble 4", "--wibble", "memtrain sweep --help"),
    ("explain --jobs 2", "memtrain explain` has no option --jobs", "`sweep` and `frontier` have it"),
    ("sweep --prove", "memtrain sweep` has no option --prove", "`explain` has it"),
    ("sweep 1,2,4", "'1,2,4' options only", "--depth 1,2,4"),
    ("sweep out.csv", "'out.csv' options only", "memtrain sweep --help"),
]
"""A command line, words of the message that name the mistake, and words of the remedy."""

FOREIGN = (
    *("Invalid value", "Error:", "Usage", "No such option:", "No such command", "Input should be", "click"),
    *("Got unexpected", "Missing option", "Missing argument", "requires an argument", "allowed:", "[Errno"),
)
"""Words of libraries, and former words of memtrain. No message may contain them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of the command lines. No command writes there, since all are refused."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "folder").mkdir()
    (folder / "folder.csv").mkdir()
    texts = {
        "taken.csv": "mine\n",
        "book.xlsx": "PK",
        "empty.csv": "",
        "text.csv": "size,colour,label\n1,red,0\n",
        "ragged.csv": "1,2,0\n1,1\n",
        "gap.csv": "1,0\n2,2\n",
        "bad.toml": "depth 4\n",
        "key.toml": "dpeth = 4\n",
        "type.toml": "bias = 'perhaps'\n",
        "number.toml": "html = 7\n",
        "before.csv": rows_csv([predicted_row(cell_of(depth=1), Mode.TRAIN)]),
        "after.csv": rows_csv([predicted_row(cell_of(depth=2), Mode.TRAIN)]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    np.savez(folder / "no-x.npz", images=np.zeros((4, 3)), y=np.array([0, 1, 0, 1]))
    np.savez(folder / "model.npz", W1=np.zeros(3))
    return SimpleNamespace(path=folder, before=sorted(folder.rglob("*")))


@pytest.mark.parametrize(("line", "mistake", "way_out"), MISTAKES, ids=[line[:50] for line, *_ in MISTAKES])
def test_a_mistake_is_one_plain_line_that_names_it_and_the_way_out(line, mistake, way_out, folder):
    said = called(*shlex.split(line), cwd=folder.path)
    assert (said.code, said.out) == (2, ""), said
    assert said.err.startswith("memtrain: ")
    assert said.err.index("\n") == len(said.err) - 1 <= 300, said.err
    assert all(word in said.err for word in mistake.split()), said.err
    assert all(word in said.err for word in way_out.split()), said.err
    assert not [word for word in FOREIGN if word in said.err], said.err
    assert sorted(folder.path.rglob("*")) == folder.before


def test_at_least_65_mistakes_are_known():
    assert len({line for line, *_ in MISTAKES}) >= 65


@pytest.mark.parametrize("line", ["swep", "explain --depth 1,4", "train --data missing.csv"])
def test_a_process_of_its_own_says_the_same(line, folder):
    apart, here = (run(*line.split(), cwd=folder.path) for run in (memtrain, called))
    assert (apart.code, apart.out, apart.err) == (here.code, here.out, here.err)
