"""Names of solvers and contenders, and where they live. Nothing is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One solver: where it is (``module:class``) and what it is for, in one line.

    A contender that is there for comparison races only when it is named (``by_default`` False).
    """

    path: str
    purpose: str
    arguments: tuple[str, ...] = ()
    by_default: bool = True

    def load(self) -> Any:
        """Import the module and return a fresh instance."""
        module, _, attribute = self.path.partition(":")
        return getattr(import_module(module), attribute)(*self.arguments)


_COSMA = "solvers.contenders.cosma:Cosma"

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
        "proven minimum-peak order and exact offsets; where it spills, the spill-set bound, "
        "gap selection and exact search over orders",
    ),
    "search": Entry(
        "solvers.contenders.search:Search",
        "beam search and annealing over orders for less traffic, where proofs take long",
    ),
    "malloc-game": Entry(
        "rl.contender:MallocGame",
        "maps operands to the fast memory for less latency, where they may lie in either",
    ),
    "cosma": Entry(
        _COSMA,
        "COSMA's ILP (arXiv 2311.18246) through PuLP, with any solver it finds",
        ("pulp",),
        by_default=False,
    ),
    "cosma-mathopt": Entry(
        _COSMA, "the same ILP through MathOpt (HiGHS)", ("mathopt",), by_default=False
    ),
    "cosma-fixed": Entry(
        "solvers.contenders.cosma:CosmaFixedSchedule",
        "COSMA's ILP on the model's own order, through MathOpt",
        by_default=False,
    ),
}

_LIST_ORDER = "solvers.order.heuristics:ListOrder"
_LINEAR_ARENA = "solvers.replacement.linear_arena:LinearArena"

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
        "cosma-peak": Entry(
            "solvers.cosma.solvers:CosmaPeak", "COSMA's ILP, smallest peak, in-place left out"
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
        "cosma-fixed": Entry(
            "solvers.cosma.solvers:CosmaFixed", "COSMA's ILP for a fixed order, with addresses"
        ),
        "linear-arena-belady": Entry(
            _LINEAR_ARENA,
            "COSMA's baseline: best fit online, evicts the furthest next use; may fail",
            ("belady",),
        ),
        "linear-arena-greedy": Entry(
            _LINEAR_ARENA,
            "COSMA's baseline: best fit online, evicts the fewest bytes for a hole; may fail",
            ("greedy",),
        ),
    },
    "mapping": {
        "static": Entry(
            "solvers.mapping.decoders:StaticDecodes",
            "two decoders, four fixed keys (one is XLA-style), three prefetch windows",
        ),
        "malloc-game": Entry(
            "rl.agent:MallocGameAgent",
            "learned starts, evolution on the program, ruin and recreate, exact offsets",
        ),
        "program-order": Entry(
            "rl.program_order:ProgramOrder",
            "a network and Gumbel tree search decide access by access, in program order",
        ),
        "bound": Entry(
            "solvers.mapping.bound:MappingBound",
            "lower bound on the latency of any mapping: linear program, then CP-SAT",
        ),
        "cp": Entry(
            "solvers.mapping.cp:CpMapping",
            "least latency by CP-SAT, with proof for small programs, offsets included",
        ),
        "lns": Entry(
            "solvers.mapping.lns:MappingNeighbourhood",
            "decides some buffers of a mapping anew by CP-SAT, again and again",
        ),
    },
    # Constructors of published schedules have a catalogue of their own.
    "pipeline": {
        "modulo": Entry(
            "solvers.pipeline.modulo_search:ModuloSearch",
            "modulo scheduling by CP-SAT: one microbatch's block, repeated; a seed of the search",
        ),
        "search": Entry(
            "solvers.pipeline.search:PipelineSearch",
            "list schedules by target times, then annealing along critical paths, from all seeds",
        ),
        "exact": Entry(
            "solvers.pipeline.exact:CpPipeline",
            "CP-SAT: proves small schedules optimal, or finds better ones",
        ),
    },
    "joint": {
        "spill-set": Entry(
            "solvers.joint.spill_set:SpillSet",
            "bound by implicit hitting sets with a minimum-peak oracle; exact where it closes",
        ),
        "joint-exact": Entry(
            "solvers.joint.exact:JointExact",
            "best-first search over order and residency, from a bound and below an incumbent",
        ),
        "beam": Entry(
            "solvers.joint.beam:Beam", "beam over operators done, storages resident and copied"
        ),
        "annealing": Entry(
            "solvers.joint.annealing:Annealing", "moves in an order, valued by eviction rules"
        ),
        "cosma": Entry(
            "solvers.cosma.solvers:CosmaJoint", "COSMA's ILP by capacity alone, in-place left out"
        ),
    },
}
