"""Bytes, counts, differences and seconds as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrain.units import (
    binary_unit,
    format_bytes,
    format_count,
    format_difference,
    format_percent,
    format_seconds,
)

EXAMPLES = settings(derandomize=True, deadline=None, max_examples=500)
UNITS = {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4, "PiB": 5, "EiB": 6}
MINUS_ZERO = re.compile(r"-0(\.0*)?(?![\d.])")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1023, "1.0 KiB"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (16 * 1024, "16 KiB"),
        (16 * 1024 + 1, "16.0 KiB"),
        (102_348, "99.9 KiB"),
        (102_349, "100 KiB"),
        (999 * 1024, "999 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1 MiB"),
        (27_414_532, "26.1 MiB"),
        (1024**3 - 1, "1.0 GiB"),
        (1024**6, "1 EiB"),
        (5000 * 1024**6, "5000 EiB"),
        (-1, "-1 B"),
        (-2048, "-2 KiB"),
        (None, ""),
    ],
)
def test_bytes_are_short_numbers_in_binary_units(count, text):
    assert format_bytes(count) == text


@given(st.integers(-(2**69), 2**69))
@EXAMPLES
def test_bytes_are_never_a_thousand_of_their_unit_and_are_right_within_rounding(count):
    number, unit = format_bytes(count).split()
    assert abs(float(number)) < 1000
    assert not MINUS_ZERO.fullmatch(number)
    assert float(number) * 1024 ** UNITS[unit] == pytest.approx(count, rel=0.051, abs=0.5)


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(0.7, 0, "70 %"), (0.9499, 2, "94.99 %"), (1, 0, "100 %"), (0.004, 0, "0 %"), (-0.004, 0, "0 %")],
)
def test_percentages_have_a_space_before_their_sign(share, digits, text):
    assert format_percent(share, digits) == text


@given(st.floats(-1e15, 1e15))
@EXAMPLES
def test_fractions_of_bytes_are_never_minus_zero(count):
    assert not MINUS_ZERO.match(format_bytes(count).split()[0])


def test_the_unit_of_a_table_is_that_of_its_largest_figure():
    assert binary_unit(0) == (1, "B")
    assert binary_unit(1000) == (1024, "KiB")
    assert binary_unit(21_300_000) == (1024**2, "MiB")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1024, "1,024"),
        (0.5, "0.5"),
        (-0.04, "0"),
        (-1e-9, "0"),
        (99.96, "100"),
        (1023.7, "1,024"),
        (-1024.2, "-1,024"),
        (2.0, "2"),
        (1e15, "1,000,000,000,000,000"),
    ],
)
def test_counts_have_thousands_separators_and_decimals_only_where_they_matter(value, text):
    assert format_count(value) == text


@given(st.floats(-1e12, 1e12))
@EXAMPLES
def test_counts_are_never_minus_zero(value):
    text = format_count(value)
    assert not MINUS_ZERO.fullmatch(text)
    assert float(text.replace(",", "")) == pytest.approx(value, abs=0.5)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (100, 100, "+0.00"),
        (102, 100, "+2.00"),
        (98, 100, "-2.00"),
        (109.994, 100, "+9.99"),
        (110, 100, "+10.0"),
        (0, 100, "-100.0"),
        (None, 100, ""),
        (100, None, ""),
        (100, 0, ""),
    ],
)
def test_differences_are_signed_percentages(part, whole, text):
    assert format_difference(part, whole) == text


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert format_difference(999_999, 1_000_000) == "+0.00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 µs"),
        (1.23e-5, "12.3 µs"),
        (9.996e-5, "100 µs"),
        (9.994e-4, "999 µs"),
        (9.996e-4, "1.0 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (61.25, "61.2 s"),
        (None, ""),
    ],
)
def test_seconds_are_short_numbers(seconds, text):
    assert format_seconds(seconds) == text


@given(st.floats(0, 999))
@EXAMPLES
def test_seconds_are_never_a_thousand_of_their_unit(seconds):
    assert float(format_seconds(seconds).split()[0]) < 1000
