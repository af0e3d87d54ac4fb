"""Names of solvers and contenders, and where they live. Nothing is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One solver: where it is (``module:class``) and what it is for, in one line."""

    path: str
    purpose: str
    arguments: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import the module and return a fresh instance."""
        module, _, attribute = self.path.partition(":")
        return getattr(import_module(module), attribute)(*self.arguments)


CONTENDERS: dict[str, Entry] = {
    "greedy": Entry(
        "solvers.contenders.greedy:Greedy",
        "best of four list orders, greedy offsets, evicts the fewest bytes",
    ),
    "belady": Entry(
        "solvers.contenders.belady:Belady",
        "list orders, evicts the storage with the furthest next use",
    ),
    "exact": Entry(
        "solvers.contenders.exact:Exact",
        "proven minimum-peak order, exact offsets, gap-selection MIP for spills",
    ),
}

_LIST_ORDER = "solvers.order.heuristics:ListOrder"

SOLVERS: dict[str, dict[str, Entry]] = {
    "order": {
        "default": Entry(_LIST_ORDER, "as the model file has it", ("default",)),
        "lpmf": Entry(_LIST_ORDER, "smallest growth of the live bytes first", ("lpmf",)),
        "depth-first": Entry(_LIST_ORDER, "what became ready last", ("depth-first",)),
        "breadth-first": Entry(_LIST_ORDER, "what became ready first", ("breadth-first",)),
        "exact-order": Entry(
            "solvers.order.exact:ExactOrder",
            "best-first search with min-cut bound and decomposition; beam beyond its reach",
        ),
    },
    "offsets": {
        "greedy": Entry("solvers.offsets:GreedyOffsets", "portfolio of orders, first and best fit"),
        "exact": Entry(
            "solvers.offsets:ExactOffsets", "place-or-raise branch and bound after greedy"
        ),
        "cp": Entry("solvers.offsets.cp:CpOffsets", "CP-SAT: rectangles that do not overlap"),
        "mip": Entry(
            "solvers.offsets.mip:PulpOffsets", "big-M MIP through PuLP, with any solver it finds"
        ),
        "mathopt": Entry("solvers.offsets.mathopt:MathOptOffsets", "the same MIP through MathOpt"),
        "bilevel": Entry(
            "solvers.offsets.bilevel:BilevelOffsets",
            "MEMO: repeated layers packed once, then the rest",
        ),
        "local": Entry(
            "solvers.offsets.local:LocalOffsets",
            "guided local search on overlaps, for the last per cent",
        ),
    },
    "replacement": {
        "greedy-eviction": Entry(
            "solvers.replacement.belady:GreedyEviction", "evicts the fewest bytes for this one step"
        ),
        "belady": Entry("solvers.replacement.belady:Belady", "evicts the furthest next use"),
        "gap-selection": Entry(
            "solvers.replacement.benders:GapSelection",
            "optimal for a fixed order: MIP over gaps, offsets as logic-based Benders",
        ),
    },
    "joint": {
        "spill-set": Entry(
            "solvers.joint.spill_set:SpillSet",
            "which storages have to leave: implicit hitting sets over a minimum-peak oracle",
        ),
    },
}
