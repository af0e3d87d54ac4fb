"""A pipeline that is planned at once, and a race without the constructors that search."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from planner.bench.pipeline_cases import Setting
from planner.pipelining.files.costs_file import CostRow
from solvers.pipeline.constructors import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = CostRow(Fraction(3), Fraction(4), Fraction(2), Fraction(1), 1000, 400)
TINY = Setting("tiny", (ROW,), 2, 3)

_QUICK_TO_BUILD = ("sequential", "gpipe", "1f1b", "zb-h1", "zb-h2", "interleaved-1f1b", "v-min")


@contextmanager
def without_searching_constructors() -> Iterator[None]:
    """Let only constructors without a search take part."""
    with pytest.MonkeyPatch.context() as patch:
        chosen = tuple(c for c in catalogue.CONSTRUCTORS if c.name in _QUICK_TO_BUILD)
        patch.setattr(catalogue, "CONSTRUCTORS", chosen)
        yield
