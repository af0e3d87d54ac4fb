"""What PyTorch's own partitioner saves at several of its memory budgets, as plans that compete."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import networkx
import torch
from networkx.algorithms.flow import boykov_kolmogorov
from torch import fx
from torch._functorch import partitioners
from torch.fx.experimental.proxy_tensor import is_sym_node

from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frontends.torch.joint import JointProgram

SWEEP = tuple(round(0.05 * step, 2) for step in range(21))
# Twelve layers of GPT-2 cost 1 s of CPU time for the first budget and 0.1 s for each further one.
_FEW = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)
_MOST_SWEPT = 450


class _Chosen(Exception):
    """Carries the saved sets out of the partitioner, which would go on to emit modules."""

    def __init__(self, sets: dict[float, list[fx.Node]]) -> None:
        super().__init__()
        self.sets = sets


def affordable_budgets(joint: JointProgram) -> tuple[float, ...]:
    """Return the whole sweep, or a few budgets where the step has many operators."""
    return SWEEP if len(joint.problem.operator_names) <= _MOST_SWEPT else _FEW


def torch_saved_sets(
    joint: JointProgram, budgets: Sequence[float] = SWEEP
) -> dict[float, frozenset[int]]:
    """Return the storages that ``min_cut_rematerialization_partition`` saves at each budget.

    A saved view counts as its base. The minimum cuts and run time estimates that budgets share are
    computed once.

    Parameters
    ----------
    joint : JointProgram
    budgets : sequence of float
        Values of ``torch._functorch.config.activation_memory_budget``.
    """
    module = _copied(joint.module)
    choose = partitioners.choose_saved_values_set
    cuts: dict[Any, Any] = {}
    times: dict[fx.Node, float] = {}
    solve_min_cut, estimate_runtime = partitioners.solve_min_cut, partitioners.estimate_runtime

    def solve_once(graph: fx.Graph, info: Any, options: Any, dont_ban: Any = None) -> Any:
        key = (repr(options), frozenset(dont_ban or ()))
        if key not in cuts:
            cuts[key] = solve_min_cut(graph, info, options, dont_ban)
        saved, banned = cuts[key]
        return list(saved), banned.copy()

    def estimate_once(node: fx.Node) -> float:
        if node not in times:
            times[node] = estimate_runtime(node)
        return times[node]

    def choose_all(graph: fx.Graph, info: Any, memory_budget: float = 1.0) -> Any:
        raise _Chosen({budget: choose(graph, info, budget) for budget in budgets})

    # The cut nearest to the sink is the same whatever algorithm finds the flow; this one is five
    # times as fast on these graphs as the default.
    quick_cut = partial(networkx.minimum_cut, flow_func=boykov_kolmogorov)
    with (
        patch.object(networkx, "minimum_cut", quick_cut),
        patch.object(partitioners, "solve_min_cut", solve_once),
        patch.object(partitioners, "estimate_runtime", estimate_once),
        patch.object(partitioners, "choose_saved_values_set", choose_all),
    ):
        try:
            partitioners.min_cut_rematerialization_partition(
                module,
                None,
                num_fwd_outputs=joint.num_fwd_outputs,
                static_lifetime_input_indices=list(joint.static_lifetime_input_indices),
            )
        except _Chosen as chosen:
            storages = _storages(joint)
            return {
                budget: frozenset(storages[n.name] for n in saved if n.name in storages)
                for budget, saved in chosen.sets.items()
            }
    return {}


def torch_seeds(joint: JointProgram, budgets: Sequence[float] = SWEEP) -> tuple[Seed, ...]:
    """Return the plans of PyTorch's partitioner, each with what it recomputes just in time.

    Budgets that save the same are one plan, named after the largest of them.
    """
    seeds: dict[frozenset[int], Seed] = {}
    for budget, saved in sorted(torch_saved_sets(joint, budgets).items(), reverse=True):
        if saved not in seeds:
            schedule = just_in_time(joint.problem, saved)
            peak = memory_profile(joint.problem, schedule).peak_bytes
            recomputed = recompute_ps(joint.problem, schedule)
            seeds[saved] = Seed(f"torch {budget:g}", schedule, peak, recomputed)
    return tuple(seeds.values())


def _copied(module: fx.GraphModule) -> fx.GraphModule:
    """Return a module that the partitioner may write into; a deep copy would take the tensors."""
    graph = fx.Graph()
    output = graph.output(graph.graph_copy(module.graph, {}))
    output.meta.update(module.graph.output_node().meta)
    return fx.GraphModule(module, graph)


def _storages(joint: JointProgram) -> dict[str, int]:
    """Return the storage of the problem that each forward node's value lies in, by name."""
    problem = joint.problem
    index = {
        _storage(node): storage
        for storage, node in enumerate(joint.values)
        if isinstance(node.meta.get("val"), torch.Tensor)
        and problem.producer[storage] >= 0
        and not problem.is_backward[problem.producer[storage]]
    }
    return {
        node.name: index[_storage(node)]
        for node in joint.module.graph.nodes
        if not is_sym_node(node)
        and isinstance(node.meta.get("val"), torch.Tensor)
        and _storage(node) in index
    }


def _storage(node: fx.Node) -> int:
    return node.meta["val"].untyped_storage()._cdata
