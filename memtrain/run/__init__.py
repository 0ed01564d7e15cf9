"""The run of a schedule with numpy kernels, and the ledger of the bytes that it really held."""
