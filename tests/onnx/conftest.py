"""What stands in for an environment without the optional packages."""

from __future__ import annotations

import pytest


@pytest.fixture
def without_runtime(monkeypatch):
    """ONNX Runtime is optional: what stands here must hold without it."""
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
