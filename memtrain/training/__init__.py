"""Data, optimisers as update nodes, the schedules of an iteration, and the training loop."""
