"""Tensor replacement: which storages leave the nearest memory, and when."""
