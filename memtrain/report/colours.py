"""The colours of the plots on pages and in pictures, and the meanings of the roles."""

from __future__ import annotations

from memtrain.graph.node import Role

ROLE_COLOURS = {
    Role.PARAMETER: "#4878b0",
    Role.GRADIENT: "#d9534f",
    Role.OPTIMIZER: "#a26fb0",
    Role.INPUT: "#45a5a0",
    Role.RETAINED: "#f0b429",
    Role.RECOMPUTED: "#e8853a",
    Role.TRANSIENT: "#98a3b0",
    Role.WORKSPACE: "#5d9e4f",
}
"""One colour for each role; all can be told apart on white and on black."""

ROLE_WORDS = {
    Role.PARAMETER: "weights and biases",
    Role.GRADIENT: "gradients of the parameters, held for the update",
    Role.OPTIMIZER: "state of the optimiser",
    Role.INPUT: "the batch: examples and labels",
    Role.RETAINED: "values that forward keeps because backward reads them",
    Role.RECOMPUTED: "values that are computed again for backward",
    Role.TRANSIENT: "arrays of one phase only, such as gradients of intermediates",
    Role.WORKSPACE: "scratch memory of the kernel that runs",
}
"""What each role means, in a few words."""

LINE_COLOURS = ("#3b6fb6", "#e08a1e", "#3f9b62", "#c0504d", "#8064a2", "#2a9fb0", "#b3588a", "#7f7f3f")
"""The colours of the lines of `Curves`, one for each batch or depth. Further lines repeat them."""

PHASE_COLOURS = ("#7fa8d6", "#d9634f")
"""The colours of a life line in forward and in backward."""

OUTCOME_COLOURS = ("#c9ced6", "#e8a33d", "#3f9b62")
"""The colours of `memtrain.report.maps.OUTCOMES`, in their order."""
