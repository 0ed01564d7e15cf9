"""What each op keeps for backward: no more than PyTorch saves, and the same where the rule is the same."""

from __future__ import annotations

import pytest
from saved_by_op import CASES, our_bytes, their_bytes


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_op_keeps_what_pytorch_saves_or_less_for_a_known_reason(case):
    pytest.importorskip("torch")
    ours, theirs = our_bytes(case), their_bytes(case)
    assert (ours < theirs) if case.why else (ours == theirs)
