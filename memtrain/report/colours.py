"""The colours of the plots, the same on the page and in the pictures."""

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
"""They can be told apart on white and on black."""

LINE_COLOURS = ("#3b6fb6", "#e08a1e", "#3f9b62", "#c0504d", "#8064a2", "#2a9fb0", "#b3588a", "#7f7f3f")
"""Of the lines of `Curves`, one per batch or depth; more lines repeat them."""

PHASE_COLOURS = ("#7fa8d6", "#d9634f")
"""Of a life line in forward and in backward."""

OUTCOME_COLOURS = ("#c9ced6", "#e8a33d", "#3f9b62")
"""Of what a cell can do in a given memory, in the order of `memtrain.report.maps.OUTCOMES`."""
