"""Networks: the data that describe them, and the functions that build their forward graphs."""
