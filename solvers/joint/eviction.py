"""Traffic of a given order by capacity alone: gaps chosen by rules of thumb, then exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.joint_problem import JointProblem
from solvers import _native
from solvers.joint.model import native_model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def traffic_of_order(problem: JointProblem | _native.JointModel, order: ArrayLike) -> int | None:
    """Return traffic that the order can do with, whatever the addresses. Milliseconds.

    The best of five eviction rules (furthest next use, copies first, smallest cover of the deficit,
    fewest remaining uses, least traffic per missing byte), improved by exchanges. It is the traffic
    of a residency in which every step fits, so never below the optimum of the order; gap selection
    finds that.

    Parameters
    ----------
    problem : JointProblem or solvers._native.JointModel
        The native form saves the conversion where many orders are valued.
    order : int array of shape [n]
        Operators.

    Returns
    -------
    int or None
        Bytes; None if the operands of some operator do not fit, with what may not leave meanwhile.

    Raises
    ------
    ValueError
        If the problem is malformed, or the order not one of its operators.
    """
    model = native_model(problem) if isinstance(problem, JointProblem) else problem
    return _native.order_traffic(model, np.ascontiguousarray(order, dtype=np.int32))
