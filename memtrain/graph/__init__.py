"""The computational graph: nodes, checks, backpropagation as a graph transformation, and the ops."""
