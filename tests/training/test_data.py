"""Data sets: the digits, the split, the order of rows, and valid and invalid files."""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrain.errors import DataError
from memtrain.models.mlp import MLP
from memtrain.training.data import Dataset, draw_rows
from memtrain.training.sources import load, split, synthetic

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 1, 0])
GOOD = "1,2,0\n3,4,1\n5,6,1\n"
NPY_HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"


def refused(path, *words: str) -> None:
    """Fail unless loading the file is refused in one line with its name, a remedy, and ``words``."""
    with pytest.raises(DataError) as caught:
        load(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.remedy
    assert all(word in message for word in (path.name, *words)), message


@pytest.fixture
def csv(tmp_path):
    def write(text: str | bytes, name: str = "data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write


def test_the_digits_are_1797_images_of_64_pixels_in_ten_classes():
    data = load("digits")
    assert (data.x.shape, data.y.shape) == ((1797, 64), (1797,))
    assert (len(data), data.input_size, data.output_size) == (1797, 64, 10)
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int64)
    assert (data.x.min(), data.x.max()) == (-1, 1)
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_synthetic_data_have_the_sizes_asked_for_and_depend_on_the_seed_alone():
    feeds = MLP(input_size=5, output_size=3).feeds(200)
    data, again, other = synthetic(feeds, 1), synthetic(feeds, 1), synthetic(feeds, 2)
    assert (data.x.shape, data.x.dtype, data.y.dtype) == ((200, 5), np.float32, np.int64)
    np.testing.assert_array_equal(data.x, again.x)
    np.testing.assert_array_equal(data.y, again.y)
    assert not np.array_equal(data.x, other.x)


def test_the_split_is_fixed_stratified_disjoint_and_leaves_nothing_out():
    y = load("digits").y
    data = Dataset(np.arange(len(y), dtype=np.float32)[:, None], y, 10)
    parts = split(data, MLP())
    train, test = (part.take(np.arange(len(part))) for part in parts)
    np.testing.assert_array_equal(parts[0].rows, split(data, MLP())[0].rows)
    assert sorted([*train.x[:, 0], *test.x[:, 0]]) == list(range(len(y)))
    assert (len(train), len(test)) == (1438, 359)
    for label, count in enumerate(np.bincount(y)):
        assert (test.y == label).sum() == round(0.2 * count)
    np.testing.assert_array_equal(y[test.x[:, 0].astype(int)], test.y)


def test_a_part_copies_no_example_until_it_is_taken():
    data = load("digits")
    for part in split(data, MLP()):
        assert part.data is data
        assert part.rows.nbytes <= 2 * len(part)
        np.testing.assert_array_equal(part.take(np.array([3, 1])).x, data.x[part.rows[[3, 1]]])


@pytest.mark.parametrize("examples", [1, 2, 255, 256, 257, 65536, 65537])
def test_rows_are_drawn_as_numpy_permutes_whatever_the_type_of_their_numbers(examples):
    rng = np.random.default_rng([7, examples])
    expected = np.concatenate([rng.permutation(examples), rng.permutation(examples)])
    found = np.concatenate(list(itertools.islice(draw_rows(examples, examples, 7), 2)))
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 30), st.integers(1, 70), st.integers(0, 5))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_every_row_is_drawn_once_before_any_again_in_the_order_of_the_seed(examples, batch, seed):
    batches = list(itertools.islice(draw_rows(examples, batch, seed), 3 * examples // batch + 3))
    assert {len(rows) for rows in batches} == {batch}
    drawn = np.concatenate(batches)
    for start in range(0, len(drawn) - examples + 1, examples):
        assert sorted(drawn[start : start + examples]) == list(range(examples))
    again = list(itertools.islice(draw_rows(examples, batch, seed), len(batches)))
    np.testing.assert_array_equal(batches, again)


@pytest.mark.parametrize(
    "text",
    [
        "a,b,label\n" + GOOD,
        "\ufeff" + GOOD,
        "\ufeffa,b,label\n" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        "\n" + GOOD.replace("\n", "\n\n"),
        GOOD.replace(",", " ,\t"),
        "1.0,2e0,0.0\n+3,4,1.\n5,6,1\n",
        "größe,β,klasse\n".encode("latin-1", "replace") + GOOD.encode(),
    ],
)
def test_a_csv_may_have_a_header_a_bom_and_any_line_ends(csv, text):
    data = load(str(csv(text)))
    np.testing.assert_array_equal(data.x, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(data.y, [0, 1, 1])
    assert (data.output_size, data.x.dtype, data.y.dtype) == (2, np.float32, np.int64)


ROWS = "1.5,2,0\n3,4,1\n5,6,1\n1,2,0\n"


@pytest.mark.parametrize(
    ("first", "note"),
    [
        ("", ""),
        ("a,b,label", "names the columns"),
        ('"a","b","label"', "names the columns"),
        ('"0","1","2"', "names the columns"),
        ("0,1,label", "names the columns"),
        ("1, 2, class", "names the columns"),
        ("0,1,2", "is read as the names of the columns"),
        ("1,2,3", "is read as the names of the columns"),
    ],
)
def test_a_first_line_of_names_or_of_numbers_that_count_is_no_example_and_that_is_said(csv, first, note):
    data = load(str(csv(f"{first}\n{ROWS}")))
    np.testing.assert_array_equal(data.x, [[1.5, 2], [3, 4], [5, 6], [1, 2]])
    np.testing.assert_array_equal(data.y, [0, 1, 1, 0])
    assert note in data.note
    assert bool(data.note) is bool(note)
    assert first in data.note


def test_a_first_line_that_counts_is_an_example_where_its_last_number_is_a_label_and_that_is_said(csv):
    data = load(str(csv("0,1,2\n" + ROWS + "7,8,2\n")))
    np.testing.assert_array_equal(data.y, [2, 0, 1, 1, 0, 2])
    assert "read as an example" in data.note
    assert load(str(csv("1.0,2,0\n" + ROWS))).note == ""
    assert load(str(csv("1,0\n2,1\n"))).note == ""


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["\n", "\r", "\r\n", "\n\n"]), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_csv_reads_as_numpy_reads_it_wherever_its_blocks_end(tmp_path_factory, block, rows, end, named):
    rng = np.random.default_rng(rows)
    x, y = rng.standard_normal((rows, 3)).astype(np.float32), np.arange(rows) % 2
    lines = [
        ",".join([*map(repr, example.tolist()), str(label)]) for example, label in zip(x, y, strict=True)
    ]
    path = tmp_path_factory.mktemp("blocks") / "data.csv"
    path.write_bytes(end.join(["a,b,c,label"] * named + lines).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memtrain.training.csv_file._BLOCK_BYTES", block)
        data = load(str(path))
    expected = np.loadtxt(lines, delimiter=",", ndmin=2)
    np.testing.assert_array_equal(data.x, expected[:, :-1].astype(np.float32))
    np.testing.assert_array_equal(data.y, expected[:, -1])


def test_a_line_without_end_is_refused(csv, monkeypatch):
    monkeypatch.setattr("memtrain.training.csv_file._LONGEST_LINE_BYTES", 100)
    monkeypatch.setattr("memtrain.training.csv_file._BLOCK_BYTES", 30)
    refused(csv("1," * 60), "a line is longer")
    assert len(load(str(csv(GOOD)))) == 3


@pytest.mark.parametrize("name", ["data.CSV", "ü n í.csv", "[red]a.csv", "a.npz.csv", " .csv"])
def test_a_file_may_have_any_name_with_the_right_ending(csv, name):
    assert len(load(str(csv(GOOD, name)))) == 3


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "i1", "u8", "?", ">f8"])
def test_an_npz_may_hold_any_kind_of_number(npz, dtype):
    data = load(str(npz(x=X.astype(dtype), y=Y.astype(dtype))))
    np.testing.assert_array_equal(data.x, X.astype(dtype).astype("f4"))
    np.testing.assert_array_equal(data.y, Y)
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int64)


def test_images_of_any_rank_are_rows_of_numbers_and_one_example_is_enough(npz):
    assert load(str(npz(x=np.zeros((4, 2, 3, 1)), y=Y))).input_size == 6
    data = load(str(npz(x=X[:1], y=Y[:1])))
    assert (len(data), data.output_size) == (1, 1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is empty"),
        ("a,b,label\n", "is empty"),
        ("1,2,0\n1,1\n", "example 2 has 2 values, and the first one has 3"),
        ("a,b,c,label\n1,2,0\n1,2,3,1\n", "has 4 values, and the first one has 3"),
        ("1,2,0\nfoo,1,1\n", "example 2 is not numeric"),
        ("1,2,0\n1,,1\n", "example 2 is not numeric"),
        ("1,2,0,\n1,2,1,\n", "is not numeric"),
        ("NA,2,0\n1,2,0\n1,2,1\n", "is not numeric"),  # not a header: it has numbers
        (",2,0\n1,2,0\n1,2,1\n", "is not numeric"),
        ("1,nan,0\n1,2,1\n", "example 1, input 2 is nan"),
        ("1,+NaN,0\n1,2,1\n", "example 1, input 2 is nan"),
        ("1,2,inf\n1,2,1\n", "example 1, the last value is inf"),
        ("nan,nan,nan\n1,2,0\n", "example 1, input 1 is nan"),  # not a header: values are missing
        ("1,2,0\n1_000,2,1\n", "example 2 is not numeric ('1_000' in '1_000,2,1')"),
        ("１,2,0\n1,2,1\n", "example 1 is not numeric ('１' in"),
        ("1,٢,0\n1,2,1\n", "is not numeric"),
        ("1,\u00a02,0\n1,2,1\n", "is not numeric"),
        ("1,2 3,0\n1,2,1\n", "is not numeric"),
        ("0x10,2,0\n1,2,1\n", "is not numeric"),
        ('"1","2","0"\n"1","2","1"\n', "is not numeric"),
        ("1,2e,0\n1,2,1\n", "is not numeric"),
        ("1,+-2,0\n1,2,1\n", "is not numeric"),
        ("0,1,NA\n1,2,0\n", "is not numeric"),  # not a header: its label is missing
        ("2,3,label\n1,2,0\n", "is not numeric"),  # not a header: it does not count from 0 or 1
        ("1,2,0\n1,2,1\0\n", "zero bytes"),
        ("1,2,0\n-inf,2,1\n", "example 2, input 1 is -inf"),
        ("1e39,2,0\n1,2,1\n", "not a finite number of float32"),
        ("1" + "0" * 5000 + ",2,0\n1,2,1\n", "example 1, input 1 is inf"),
        ("0\n1\n", "x of shape [2, 0]"),
        ("1,2,1\n1,2,2\n", "labels 1, 2"),
        ("1,2,0\n1,2,2\n", "labels 0, 2"),
        ("1,2,-1\n1,2,0\n", "labels -1, 0"),
        ("1,2,0\n1,2,0.5\n", "labels 0, 0.5"),
    ],
)
def test_a_bad_csv_is_refused_with_what_is_wrong(csv, text, word):
    refused(csv(text), word)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({}, "no array x and no y; it has none"),
        ({"x": X}, "no array y; it has x"),
        ({"X": X, "y": Y}, "no array x; it has X, y"),
        ({"x": X, "y": Y[:3]}, "x of shape [4, 3] and y of shape [3]"),
        ({"x": X[:0], "y": Y[:0]}, "x of shape [0, 3]"),
        ({"x": X[:, :0], "y": Y}, "x of shape [4, 0]"),
        ({"x": X, "y": Y[:, None]}, "y of shape [4, 1]"),
        ({"x": 1.0, "y": 0}, "x of shape [] and y of shape []"),
        ({"x": X.astype(str), "y": Y}, "not numeric"),
        ({"x": np.zeros(4, [("a", "f4"), ("b", "f4")]), "y": Y}, "not numeric"),
        ({"x": X + 1e300, "y": Y}, "not a finite number of float32"),
        ({"x": X * np.nan, "y": Y}, "example 1, input 1 is nan"),
        ({"x": X, "y": Y + 1}, "labels 1, 2"),
        ({"x": X, "y": Y > -1}, "number its 1 classes 0…0"),
        ({"x": X, "y": Y + 0.5}, "labels 0.5, 1.5"),
        ({"x": X, "y": np.array([0, 1, np.nan, 1])}, "nan"),
        ({"x": X, "y": np.array([0, 2**64 - 1, 0, 0], "u8")}, "labels 0, 1.84467e+19"),
    ],
)
def test_a_bad_npz_is_refused_with_what_is_wrong(npz, arrays, word):
    refused(npz(**arrays), word)


def test_pickled_objects_are_refused_and_not_executed(npz, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    refused(npz(x=np.array([Evil()], object), y=Y), "without pickled objects")
    (tmp_path / "data.npz").write_bytes(pickle.dumps(Evil()))
    refused(tmp_path / "data.npz")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 and no more", b"\x93NUMPY", np.random.default_rng(0).bytes(500)]
)
def test_what_is_no_zip_is_refused(csv, content):
    refused(csv(content, "data.npz"))


def test_a_single_array_a_cut_file_and_a_broken_one_are_refused(npz, tmp_path):
    whole = bytearray(npz(x=X, y=Y).read_bytes())
    path = tmp_path / "data.npz"
    path.write_bytes(whole[: len(whole) // 2])
    refused(path)
    whole[200] ^= 255
    path.write_bytes(whole)
    refused(path)
    with path.open("wb") as file:
        np.save(file, X)
    refused(path, "np.savez")


@pytest.mark.parametrize(
    "shape", ["(1000000000000, 1000)", "(-5, 3)", "(9223372036854775807, 9)", "(1000, 3)"]
)
def test_an_array_that_claims_more_than_the_file_holds_is_refused(tmp_path, shape):
    header = (NPY_HEADER % shape).ljust(117).encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    refused(tmp_path / "data.npz")


def test_an_array_by_columns_or_compressed_reads_as_any_other(tmp_path):
    x = np.random.default_rng(0).standard_normal((500, 3, 2))
    for save, values in ((np.savez, np.asfortranarray(x)), (np.savez_compressed, x), (np.savez, x[::-1])):
        save(tmp_path / "data.npz", x=values, y=np.arange(500) % 2)
        np.testing.assert_array_equal(load(str(tmp_path / "data.npz")).x, values.reshape(500, 6).astype("f4"))
    x[400, 2, 1] = np.nan
    np.savez(tmp_path / "data.npz", x=np.asfortranarray(x), y=np.arange(500) % 2)
    refused(tmp_path / "data.npz", "example 401, input 6 is nan")


def test_data_that_need_more_memory_than_is_free_are_refused_before_they_are_read(tmp_path, csv):
    """A compressed file of 10 KB really holds 10 MB. The limit simulates the free memory of the machine."""
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.zeros((1000, 2500), "f4"), y=np.arange(1000) % 2)
    assert path.stat().st_size < 30_000
    for big in (path, csv("0.5," * 2500 + "0\n" + ("0.5," * 2500 + "1\n") * 999)):
        tracemalloc.start()
        with pytest.raises(DataError, match=r"takes 9\.5 MiB of memory.* 8 MiB are free"):
            load(str(big), free_bytes=8 * 1024**2)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()
        assert len(load(str(big), free_bytes=13 * 1024**2)) == 1000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["x", "y"])
def test_a_claim_of_10_GiB_is_refused_at_once(name, method, tmp_path):
    header = (NPY_HEADER % f"({10 * 1024**3 // 8},)").ljust(117).encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "data.npz", "w", method) as archive:
        for member in ("x", "y"):
            with archive.open(f"{member}.npy", "w") as file:
                if member == name:
                    file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
                else:
                    np.save(file, np.zeros((4, 1)))
    refused(tmp_path / "data.npz", f"{name} claims to be 10 GiB")


def test_a_compression_that_numpy_does_not_use_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_LZMA) as archive,
        archive.open("x.npy", "w") as x,
    ):
        np.save(x, X)
    with zipfile.ZipFile(tmp_path / "data.npz", "a") as archive, archive.open("y.npy", "w") as y:
        np.save(y, Y)
    refused(tmp_path / "data.npz", "x is compressed in a way")


@pytest.mark.parametrize("name", ["x", "x.npy"])
def test_a_member_that_is_no_array_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr(name, "no array")
        archive.writestr(name.replace("x", "y"), "no array")
    refused(tmp_path / "data.npz")


def test_what_is_no_regular_file_or_cannot_be_one_is_refused_without_waiting_for_it(tmp_path):
    for suffix in ("csv", "npz"):
        (tmp_path / f"folder.{suffix}").mkdir()
        os.mkfifo(tmp_path / f"pipe.{suffix}")
        (tmp_path / f"loop.{suffix}").symlink_to(f"loop.{suffix}")
        (tmp_path / f"endless.{suffix}").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / f"socket.{suffix}"))
        for name, word in {
            "missing": "does not exist",
            "folder": "a directory, not a regular file",
            "pipe": "a pipe, not a regular file",
            "endless": "a character device, not a regular file",
            "socket": "a socket, not a regular file",
            "loop": "",
            "x" * 300: "",
        }.items():
            refused(tmp_path / f"{name}.{suffix}", word)


@pytest.mark.parametrize("name", ["data", "data.dat", "data.csv.gz", "Digits", ".csv"])
def test_another_ending_is_refused_with_those_that_are_allowed(csv, name):
    refused(csv(GOOD, name), "digits", ".npz", ".csv")


def test_a_csv_with_a_hundred_thousand_columns_is_read(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("".join(f"{'0.5,' * 100_000}{label}\n" for label in (0, 1, 1)))
    found = load(str(path))
    assert (len(found), found.input_size, found.output_size) == (3, 100_000, 2)
