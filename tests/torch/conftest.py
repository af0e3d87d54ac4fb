"""What tests of compiled models share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Forget compiled code, which equal functions of other tests would take and leave behind."""
    import torch

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
