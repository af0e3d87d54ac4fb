"""Buffers with known lifetimes from a file."""

from __future__ import annotations

from frontends.buffers.load import load_buffers

__all__ = ["load_buffers"]
