"""OR-Tools is imported by what needs it alone, and missed politely."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from planner.problem import Status
from solvers.replacement.benders import GapSelection

from .problems import network
from .reference import solved


def test_without_ortools_gap_selection_says_so_and_falls_back(monkeypatch) -> None:
    assert GapSelection().available().available
    monkeypatch.setitem(sys.modules, "ortools.math_opt.python", None)
    problem = network(2, 60)
    outcome = solved(GapSelection(), problem)
    assert outcome.status is Status.FEASIBLE
    assert "ortools" in outcome.statistics["stopped"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    available, reason = GapSelection().available()
    assert not available
    assert "pip install ortools" in reason


def test_importing_the_solvers_does_not_import_ortools() -> None:
    code = (
        "import sys, solvers.replacement.benders, solvers.replacement.belady;"
        "sys.exit('ortools' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
