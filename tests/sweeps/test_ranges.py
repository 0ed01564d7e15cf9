"""Ranges as text, and the messages for texts that are no ranges."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrain.errors import InputError, RangeError
from memtrain.sweeps.ranges import (
    MOST_VALUES,
    parse_integers,
    parse_numbers,
    parse_sizes,
    parse_words,
)

EXAMPLES = settings(derandomize=True, deadline=None, max_examples=300)
sizes = st.integers(1, 10_000)


def refused(parse, text: str) -> RangeError:
    """The error for ``text``. It must be one line of two parts that names the option and the text."""
    with pytest.raises(RangeError) as caught:
        parse(text, "--depth")
    error = caught.value
    assert error.mistake.startswith("--depth ")
    whole = text if len(text) <= 40 else f"{text[:39]}…"
    parts = (whole, *(part.strip() for part in text.split(",")))
    assert error.mistake == "--depth is empty" or any(repr(part) in error.mistake for part in parts)
    assert error.remedy
    assert str(error) == f"{error.mistake}; {error.remedy}"
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8", [8]),
        ("2,4,8", [2, 4, 8]),
        ("8,2,4", [8, 2, 4]),
        ("1:16:x2", [1, 2, 4, 8, 16]),
        ("1:1024:x4", [1, 4, 16, 64, 256, 1024]),
        ("3:20:x2", [3, 6, 12]),
        ("1:16:+3", [1, 4, 7, 10, 13, 16]),
        ("1:15:+3", [1, 4, 7, 10, 13]),
        ("5:5:x2", [5]),
        ("5:5:+1", [5]),
        ("5:6:x1000", [5]),
        ("1,4:16:x2,100", [1, 4, 8, 16, 100]),
        ("1:3:+1,2:8:x2", [1, 2, 3, 4, 8]),
        (" 1 , 2 ", [1, 2]),
        ("007", [7]),
    ],
)
def test_every_form_of_range_gives_its_values_in_order(text, values):
    assert parse_integers(text, "--depth") == values


def test_zero_is_allowed_only_where_the_least_is_zero():
    assert parse_integers("0,1", "--depth", least=0) == [0, 1]
    assert parse_integers("0:4:+2", "--depth", least=0) == [0, 2, 4]
    assert "'0,1': '0' is too small" in str(refused(parse_integers, "0,1"))


def test_a_value_that_is_given_twice_counts_once():
    assert parse_integers("4,4,1:4:x2,4", "--depth") == [4, 1, 2]
    assert parse_numbers("0,1e-4,0.0001", "--l2") == [0.0, 1e-4]
    assert parse_words("relu, gelu,relu", "--activation") == ["relu", "gelu"]


def test_sizes_of_layers_keep_order_and_repetitions():
    assert parse_sizes("784,512,512,10", "--layers") == [784, 512, 512, 10]


@given(st.lists(sizes, min_size=1, max_size=8))
@EXAMPLES
def test_a_list_gives_back_its_numbers(values):
    text = ",".join(map(str, values))
    assert parse_integers(text, "--depth") == list(dict.fromkeys(values))
    assert parse_sizes(text, "--layers") == values


@given(sizes, st.integers(0, 10_000), st.integers(1, 500))
@EXAMPLES
def test_an_arithmetic_range_is_pythons_range_with_its_end(start, length, by):
    stop = start + min(length, by * (MOST_VALUES - 1))
    assert parse_integers(f"{start}:{stop}:+{by}", "--depth") == list(range(start, stop + 1, by))


@given(sizes, st.integers(0, 10**18), st.integers(2, 100))
@EXAMPLES
def test_a_geometric_range_multiplies_up_to_its_end(start, length, by):
    stop = start + length
    values = parse_integers(f"{start}:{stop}:x{by}", "--depth")
    assert values == [start * by**power for power in range(len(values))]
    assert values[-1] <= stop < values[-1] * by


@given(st.text(alphabet="0123456789,:x+- .e\nn²", max_size=14))
@EXAMPLES
def test_any_text_is_either_a_range_or_refused_in_one_line(text):
    try:
        values = parse_integers(text, "--depth")
    except InputError:
        refused(parse_integers, text)
    else:
        assert len(set(values)) == len(values) > 0
        assert min(values) >= 1


@pytest.mark.parametrize("text", ["", " ", ",", "1,", ",1", "1,,2"])
@pytest.mark.parametrize("parse", [parse_integers, parse_sizes, parse_numbers, parse_words])
def test_an_empty_range_or_part_is_refused(parse, text):
    assert "empty" in str(refused(parse, text))


@pytest.mark.parametrize(
    "text", ["x", "1.5", "1e3", "nan", "٣", "²", "1_000", "+3", "0x10", "1 2", "--1", "½"]
)
def test_what_is_no_whole_number_is_refused(text):
    assert "is not a whole number" in str(refused(parse_integers, text))
    assert "is not a whole number" in str(refused(parse_sizes, text))


def test_a_number_that_is_too_large_is_not_called_something_else():
    error = refused(parse_integers, "1" + "0" * 30)
    assert "is not a whole number" not in str(error)


@pytest.mark.parametrize("text", ["1:4", "1:4:2", "1:4:-1", "1:4:x2:3", ":", "::", "1::x2", "1:4:", "1:4:y2"])
def test_what_only_looks_like_a_progression_is_refused(text):
    refused(parse_integers, text)


@pytest.mark.parametrize(("text", "remedy"), [("4:1:x2", "1:4:x2"), ("9:8:+1", "8:9:+1")])
def test_a_reversed_range_is_refused_with_the_right_way_round(text, remedy):
    error = refused(parse_integers, text)
    assert "backwards" in error.mistake
    assert error.remedy == f"write {remedy}"


@pytest.mark.parametrize("text", ["1:4:x1", "1:4:x0", "0:4:x2", "1:4:+0", "1:4:+-1", "1:4:x-2", "-4:-1:x2"])
def test_a_range_that_never_ends_is_refused(text):
    assert "never ends" in str(refused(parse_integers, text))


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-1", -1), ("4,-2,1", -2), ("-3:3:+3", -3)])
def test_a_negative_size_and_zero_are_refused_by_name(text, value):
    error = refused(parse_integers, text)
    assert f"'{value}' is too small" in error.mistake
    assert error.remedy == "give whole numbers ≥ 1"


def test_a_range_of_more_values_than_anyone_means_is_refused():
    assert len(parse_integers(f"1:{MOST_VALUES}:+1", "--depth")) == MOST_VALUES
    error = refused(parse_integers, "1:999999999999:+1")
    assert "999,999,999,999 values" in error.mistake
    refused(parse_integers, f"1:{MOST_VALUES + 1}:+1")


def test_numbers_are_any_finite_ones_from_zero_on():
    assert parse_numbers("0,1e-4, 2,.5,1e30", "--l2") == [0.0, 1e-4, 2.0, 0.5, 1e30]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "-1e-9", "1e400", "abc", "1:2:x2", "0x1"])
def test_a_number_that_is_negative_or_not_finite_is_refused(text):
    assert "is not a finite number ≥ 0" in str(refused(parse_numbers, text))


@pytest.mark.parametrize("parse", [parse_words, parse_numbers, parse_sizes])
@pytest.mark.parametrize("text", ["", "1:8:x2,"])
def test_an_error_allows_only_what_the_option_takes(parse, text):
    """Words, numbers and layers are lists, so no message about them may suggest a progression."""
    error = refused(parse, text)
    assert "range" not in error.remedy
    assert "1:1024:x2" not in error.remedy
