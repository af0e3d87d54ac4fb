"""What beam and annealing find on the design tables' graphs."""

from __future__ import annotations

import pytest

from solvers.joint.annealing import Annealing
from solvers.joint.beam import Beam
from solvers.protocol import Deadline

from .published_graphs import joint_problem_of


@pytest.mark.parametrize(
    ("name", "budget", "kilobytes"),
    [
        ("darts_im", "M_R", 1004.5),
        ("nasnet_im", "M_R", 1225.0),
        ("amoebanet_im", "M_R", 1078.0),
        ("pnas_im", "M_R", 2107.0),
        ("randwire2", "M_R", 477.75),
        ("pnas_imc", "M_R", 918.75),
        ("darts_cif", "M_R", 1810.0),
        ("amoebanet_cif", "M_H", 144.0),
        ("pnas_cif", "M_H", 712.0),
    ],
)
def test_beam_reaches_the_published_traffic(name: str, budget: str, kilobytes: float) -> None:
    problem = joint_problem_of(name, budget)
    outcome = Beam(last_width=256, goal_bytes=int(kilobytes * 1024)).solve(
        problem, deadline=Deadline(120.0)
    )
    assert outcome.solution is not None
    assert outcome.solution.traffic_bytes <= kilobytes * 1024


@pytest.mark.parametrize(
    ("name", "budget", "kilobytes"),
    [
        ("darts_im", "M_R", 1004.5),
        ("amoebanet_im", "M_R", 1078.0),
        ("nasnet_im", "M_R", 1225.0),
        ("randwire2", "M_R", 477.75),
        ("pnas_im", "M_R", 2107.0),
        ("amoebanet_cif", "M_H", 360.0),
    ],
)
def test_annealing_reaches_the_published_traffic(name: str, budget: str, kilobytes: float) -> None:
    problem = joint_problem_of(name, budget)
    outcome = Annealing(most_evaluations=200_000, goal_bytes=int(kilobytes * 1024)).solve(
        problem, deadline=Deadline(120.0)
    )
    assert outcome.solution is not None
    assert outcome.solution.traffic_bytes <= kilobytes * 1024
