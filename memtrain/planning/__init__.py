"""From a graph to a schedule, and from a schedule to its liveness, which is the prediction."""
