"""Execution of a schedule with numpy kernels, and the ledger of what it really held."""
