"""`planner.torch` where PyTorch is not installed."""

from __future__ import annotations

import importlib.util

import pytest

import planner
from planner.errors import UsageError


def test_every_name_says_which_extra_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "planner.torch.find_spec", lambda name: None if name == "torch" else find(name)
    )
    for name in ("partitioner", "backend", "estimate", "plan", "measure"):
        with pytest.raises(UsageError, match=r"pip install 'tensor-planner\[torch\]'"):
            getattr(planner.torch, name)


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError):
        planner.torch.nothing  # noqa: B018
