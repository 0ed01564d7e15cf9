"""The computational graph: nodes, checks, backpropagation as a transformation, and the ops."""
