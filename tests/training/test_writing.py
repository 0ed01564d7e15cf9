"""Text that a trained language model writes."""

from __future__ import annotations

import numpy as np
import pytest

from memtrain.models.families import make_network
from memtrain.training.data import Part
from memtrain.training.loop import train
from memtrain.training.text import Text, Windows
from memtrain.training.writing import Written, write

SMALL = {"depth": 1, "width": 8, "sequence": 8}


def part(text, sequence):
    windows = Windows(Text(np.frombuffer(text, np.uint8), "a text"), sequence)
    return Part(windows, np.arange(len(windows)))


@pytest.mark.parametrize("family", ["rnn", "transformer"])
def test_a_model_that_has_learned_a_text_goes_on_with_it(family):
    network = make_network(family, {"depth": 1, "width": 16, "sequence": 12})
    text = part(b"abcdefgh" * 300, 12)
    options = {"optimizer": "adam", "rate": 0.01, "epochs": 6, "seed": 0}
    trained = train(network, 10, text, text, **options)
    assert trained.written == Written("abcdef", "ghabcd")


def test_what_is_not_printable_is_replaced_and_lines_are_joined():
    network = make_network("rnn", SMALL)
    zero = {name: np.zeros_like(value) for name, value in network.initial_values(0).items()}
    found = write(network, zero, part(b"a\nb\xff" * 9, 8), 0)
    assert found.beginning == "a b�"
    assert "\n" not in found.continuation


def test_a_network_that_writes_no_bytes_or_has_diverged_writes_nothing():
    network = make_network("rnn", {**SMALL, "vocabulary": 100})
    assert write(network, network.initial_values(0), part(bytes(80), 8), 0) is None
    network = make_network("rnn", SMALL)
    lost = {name: np.full_like(value, np.nan) for name, value in network.initial_values(0).items()}
    with np.errstate(all="ignore"):
        assert write(network, lost, part(bytes(80), 8), 0) is None
