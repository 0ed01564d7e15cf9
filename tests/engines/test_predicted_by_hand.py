"""Peaks of PyTorch worked out by hand. PyTorch need not be installed for them."""

from __future__ import annotations

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row

X, Y, W1, W2 = 256 * 784 * 4, 256 * 8, 784 * 256 * 4, 256 * 10 * 4
H, O = 256 * 256 * 4, 256 * 10 * 4  # noqa: E741 (the output is called o)


def peaks(**columns):
    cell = cell_of(depth=1, width=256, input_size=784, batch=256, data="synthetic", **columns)
    return [predicted_row(cell, mode)["predicted_peak_bytes"] for mode in (Mode.TRAIN, Mode.INFER)]


def test_the_peaks_of_one_hidden_layer_are_what_stands_at_the_last_gradient_and_at_the_activation():
    """Training ends with ∂L/∂W1, beside ∂L/∂z, ∂L/∂W2 and the loss. Prediction peaks while z and h exist."""
    whole = X + Y + W1 + W2
    assert peaks(l2=0.0) == [whole + W1 + W2 + H + 4, X + W1 + W2 + H + O]
    seed = 4  # the gradient of the loss, which PyTorch holds until backward ends
    assert peaks(l2=0.0, engine="torch") == [whole + W1 + W2 + H + 4 + seed, X + W1 + W2 + 2 * H]
    assert peaks(l2=0.0) == [2_693_124, 1_888_256]


def test_weight_decay_costs_a_copy_of_the_largest_gradient():
    plain, decayed = peaks(l2=0.0, engine="torch")[0], peaks(l2=1e-4, engine="torch")[0]
    whole = X + Y + W1 + W2
    assert plain == 2_693_128
    assert decayed == whole + W1 + W2 + W1 + 4  # all gradients, and g + λW of W1, beside the loss


def test_the_state_and_the_temporaries_of_adam():
    """The largest parameter is W1. Its square root and the quotient exist beside the denominator of none."""
    cell = {"depth": 2, "width": 256, "batch": 1, "input_size": 8, "data": "synthetic", "l2": 0.0}
    row = predicted_row(cell_of(**cell, optimizer="adam", engine="torch"), Mode.TRAIN)
    first, second, last = 8 * 256 * 4, 256 * 256 * 4, 256 * 10 * 4
    weights = first + second + last
    assert row["optimizer_bytes"] == 2 * weights + 3 * 4
    batch, loss = 8 * 4 + 8, 4
    # the denominator of the first weight dies after the quotient of the second exists
    assert row["predicted_peak_bytes"] == 4 * weights + 3 * 4 + batch + loss + first + 2 * second
