"""Proofs of pair bounds, and checking them in whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from solvers.pipeline.bounds.pair_rows import Question, whole_program

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem

PRECISION_BITS = 64


class PairCertificate(NamedTuple):
    """Multipliers that combine the rows of a question's program into a bound.

    Attributes
    ----------
    question : Question
        Its grid's base must be a bound that holds already.
    multipliers : tuple of (int, int)
        Rows, ascending, and how often each counts, in units of ``2 ** -PRECISION_BITS``.
    """

    question: Question
    multipliers: tuple[tuple[int, int], ...]


def verify(certificate: PairCertificate, problem: PipelineProblem) -> int:
    """Return the least ticks that a certificate proves, given that its grid's base is proven.

    Rows, each at most its limit, are added up with multipliers of at least 0. Where the sum's
    coefficient of the first column, which is minimised, falls below -1, all are scaled down; the
    other columns are replaced by whichever of their limits makes the sum least. All of it is exact.

    Raises
    ------
    ValueError
        If a multiplier is negative or of a row that does not exist.
    """
    program = whole_program(problem, certificate.question)
    one = 1 << PRECISION_BITS
    sums = [0] * len(program.lower)
    most = 0
    for row, multiplier in certificate.multipliers:
        if multiplier < 0 or not 0 <= row < len(program.rows):
            raise ValueError(f"row {row} cannot count {multiplier} times")
        terms, limit = program.rows[row]
        for column, value in terms.items():
            sums[column] += multiplier * value
        most += multiplier * limit
    # one * x_0 + sums @ x >= least over the box of the others, and sums @ x <= most.
    least = -most
    for value, lower, upper in zip(sums[1:], program.lower[1:], program.upper[1:], strict=True):
        least += value * (lower if value > 0 else upper)
    weight = max(one, -sums[0])
    # x_0 >= 0 makes up for a coefficient above -1.
    return certificate.question.grid.base + max(0, -(-least // weight))
