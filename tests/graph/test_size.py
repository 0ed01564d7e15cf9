"""Sizes with a meaning: as text, evaluated, and kept by the ops that cut or fold axes."""

from __future__ import annotations

import pickle
from math import ceil

import pytest
from examples import leaf
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrain.graph import size
from memtrain.graph.builder import Builder
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.view import Slice
from memtrain.graph.size import Dim, least, part, product, rounded_part

N, M, A = Dim(96, "n"), Dim(256, "m"), Dim(4, "a")


@pytest.mark.parametrize(
    ("found", "words", "value"),
    [
        (N, "n", 96),
        (product((N, M)), "n·m", 96 * 256),
        (product((N, 3, M)), "n·3·m", 96 * 3 * 256),
        (product((N, 1)), "n", 96),
        (product((product((N, M)), M)), "n·m·m", 96 * 256 * 256),
        (product((2, 3)), "6", 6),
        (product(()), "1", 1),
        (least(16384, (N, M)), "min(16384, n·m)", 16384),
        (least(16384, (N,)), "min(16384, n)", 96),
        (least(4, (5,)), "4", 4),
        (part(N, 2), "n/2", 48),
        (part(N, 1), "n", 96),
        (part(part(N, 2), 3), "n/6", 16),
        (part(product((N, M)), 4), "n·m/4", 96 * 64),
        (product((part(N, 2), M)), "n/2·m", 48 * 256),
        (part(M, A), "m/a", 64),
        (product((N, A, part(M, A))), "n·m", 96 * 256),
        (product((A, N, A, part(product((A, M)), A))), "n·a·a·m", 96 * 16 * 256),
        (product((N, part(M, A))), "n·m/a", 96 * 64),
        (rounded_part(Dim(9, "n"), 8), "⌈n/8⌉", 2),
        (part(rounded_part(Dim(9, "n"), 8), 2), "⌈n/8⌉/2", 1),
        (rounded_part(9, 8), "2", 2),
        (product((least(64, (rounded_part(N, 8),)), M)), "min(64, ⌈n/8⌉)·m", 12 * 256),
    ],
)
def test_a_size_is_a_number_and_the_expression_that_gives_it(found, words, value):
    assert found == value
    assert size.text(found) == words
    assert (
        size.evaluate(
            found, {"n": 96, "m": 256, "a": 4, **({"n": 9} if "⌈n/8⌉" in words and value < 9 else {})}
        )
        == value
    )


SYMBOLS = {"n": 6, "m": 35, "q": 1}
sizes = st.recursive(
    st.one_of(st.integers(1, 9), st.sampled_from([Dim(value, name) for name, value in SYMBOLS.items()])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(product),
        st.tuples(st.integers(1, 99), st.lists(inner, max_size=3)).map(lambda pair: least(*pair)),
        st.tuples(inner, st.integers(1, 9)).map(lambda pair: rounded_part(*pair)),
    ),
    max_leaves=12,
)


def by_python(words, values):
    """The value of an expression, computed from its text by Python's parser."""
    plain = words.replace("·", "*").replace("⌈", "ceil(").replace("⌉", ")")
    return eval(plain, {"min": min, "ceil": ceil}, values)


@settings(max_examples=300, derandomize=True)
@given(sizes)
def test_text_evaluation_and_number_agree(found):
    assert by_python(size.text(found), SYMBOLS) == found
    assert size.evaluate(found, SYMBOLS) == found
    other = {"n": 11, "m": 2, "q": 13}
    assert by_python(size.text(found), other) == size.evaluate(found, other)
    assert dict(size.symbols(found)).items() <= SYMBOLS.items()


def test_a_size_survives_pickling():
    found = pickle.loads(pickle.dumps(product((least(64, (rounded_part(N, 8),)), M))))
    assert (found, size.text(found)) == (12 * 256, "min(64, ⌈n/8⌉)·m")


@pytest.mark.parametrize(("stop", "words"), [(96, "n"), (48, "n/2"), (32, "n/3"), (1, "n/96"), (50, "50")])
def test_a_slice_that_divides_an_axis_keeps_its_symbol(stop, words):
    b = Builder()
    cut = b.apply(Slice((0, 0), (stop, 256)), leaf(b, "x", (N, M)))
    assert [size.text(axis) for axis in cut.shape] == [words, "m"]
    assert size.carries_batch(cut.shape) == (words != "50")


def test_a_product_of_stacks_keeps_the_symbols_of_their_axes():
    b = Builder()
    t = Dim(5, "t")
    stacked = matmul(b, leaf(b, "a", (N, 1, t, M)), leaf(b, "b", (4, M, t)))
    assert [size.text(axis) for axis in stacked.shape] == ["n", "4", "t", "t"]
    assert not size.carries_batch((4, N))
    assert not size.carries_batch(())
