"""A process of its own for PuLP: builds a model, writes it or solves it, and ends.

``import pulp`` loads whatever licensed solvers are installed (highspy among them, which cannot be
in one process with ortools), they print, they leave files, and CBC cannot be asked to stop. Here
all of that happens in a directory that is removed and a process group that can be killed.

Reads ``model.json`` and writes ``answer.json`` in the current directory. Imports nothing of the
project, so that it starts fast.
"""

from __future__ import annotations

import inspect
import json
import os
import time
from pathlib import Path
from typing import Any

# Best first. What is not installed, or has no licence, is left out.
PREFERENCE = (
    "GUROBI",
    "GUROBI_CMD",
    "CPLEX_PY",
    "CPLEX_CMD",
    "XPRESS_PY",
    "XPRESS_CMD",
    "COPT",
    "COPT_CMD",
    "MOSEK",
    "SCIP_PY",
    "SCIP_CMD",
    "HiGHS",
    "HiGHS_CMD",
    "COIN_CMD",
    "PULP_CBC_CMD",
    "GLPK_CMD",
)
# Part of the time after which a solver is to stop by itself, so that it can still hand over its
# best; and the part up to which an answer counts as that of a search that ran to its end.
SOLVER_SHARE = 0.9
FINISHED_SHARE = 0.95


def build(data: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the PuLP problem and its variables, in the order of the columns."""
    import pulp

    infinity = float("inf")
    problem = pulp.LpProblem(data["name"], pulp.LpMinimize)
    variables = [
        pulp.LpVariable(name, lower, upper, pulp.LpInteger if integer else pulp.LpContinuous)
        for name, lower, upper, integer in zip(
            data["names"], data["lower"], data["upper"], data["integer"], strict=True
        )
    ]
    problem += pulp.LpAffineExpression(
        [(v, cost) for v, cost in zip(variables, data["cost"], strict=True) if cost]
    )
    rows: list[list[tuple[Any, float]]] = [[] for _ in data["row_names"]]
    for row, column, value in zip(data["row"], data["column"], data["value"], strict=True):
        rows[row].append((variables[column], value))
    for name, terms, lower, upper in zip(
        data["row_names"], rows, data["row_lower"], data["row_upper"], strict=True
    ):
        expression = pulp.LpAffineExpression(terms)
        if lower == upper:
            problem += expression == lower, name
        elif upper < infinity:
            problem += expression <= upper, name
        else:
            problem += expression >= lower, name
    return problem, variables


def available_solvers(wanted: str) -> list[str]:
    """Return names of installed solvers, the best first; only the wanted one if there is one."""
    import pulp

    installed = pulp.listSolvers(onlyAvailable=True)
    if wanted:
        return [wanted] if wanted in installed else []
    return [name for name in PREFERENCE if name in installed]


def solve(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Solve with one solver of PuLP; say whether its answer is a proof."""
    import pulp

    problem, variables = build(data)
    limit_s = SOLVER_SHARE * (data["end"] - time.time())
    options: dict[str, Any] = {"msg": False, "timeLimit": limit_s, "gapRel": 0.0}
    accepted = inspect.signature(pulp.getSolver(name, msg=False).__class__.__init__).parameters
    if data["start"] is not None and "warmStart" in accepted:
        for variable, value in zip(variables, data["start"], strict=True):
            variable.setInitialValue(value, check=False)
        options["warmStart"] = True
    if "gapRel" not in accepted:
        del options["gapRel"]
    started = time.monotonic()
    problem.solve(pulp.getSolver(name, **options))
    # A run that used up its time may call its best "Optimal", or what it did not find
    # "Infeasible": only one that ended well before has searched everything.
    finished = time.monotonic() - started < FINISHED_SHARE * limit_s
    values = [variable.value() for variable in variables]
    return {
        "solver": name,
        "optimal": finished
        and problem.status == pulp.LpStatusOptimal
        and problem.sol_status == pulp.LpSolutionOptimal,
        "infeasible": finished and problem.status == pulp.LpStatusInfeasible,
        "values": None if None in values else values,
    }


def main() -> None:
    """Do what the model file asks for."""
    data = json.loads(Path("model.json").read_text())
    if data["lp_file"]:
        build(data)[0].writeLP("model.lp")
        answer: dict[str, Any] = {}
    else:
        answer = {"failed": []}
        names = available_solvers(data["wanted"])
        for name in names:
            try:
                answer.update(solve(data, name))
                break
            except Exception as error:
                # A solver without a licence looks installed: take the next one.
                answer["failed"].append(f"{name}: {error}")
        answer["available"] = names
    times = os.times()
    answer["cpu_s"] = sum(times[:4])
    Path("answer.partial").write_text(json.dumps(answer))
    Path("answer.partial").rename("answer.json")


if __name__ == "__main__":
    main()
