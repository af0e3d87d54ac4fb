"""Torch programs in: `load_torch` turns an exported or traced one into a `planner.graph.Graph`."""

from __future__ import annotations

from frontends.torch.frontend import load_torch

__all__ = ["load_torch"]
