"""All published schedules by name, with their sources."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline


class InapplicableError(Exception):
    """A constructor that has nothing for this problem; the message says why, for people."""


OUT_OF_TIME = "no time was left"


class Constructor(NamedTuple):
    """A published schedule.

    Attributes
    ----------
    name : str
    placements : tuple of str
        Those of ``planner.pipelining.placements`` that it is made for.
    source : str
        Paper or repository.
    home : str
        ``module:function`` under ``solvers.pipeline.constructors``.
    searches : bool
        Whether it tries many schedules, so that its function takes a deadline as well.
    """

    name: str
    placements: tuple[str, ...]
    source: str
    home: str
    searches: bool = False

    def build(self, problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
        """Return the schedule; it may need more memory than the limits.

        One that searches returns the best by the deadline.

        Raises
        ------
        InapplicableError
            If there is none for this problem, or none was found in time.
        """
        module, function = self.home.split(":")
        build = getattr(import_module(f"solvers.pipeline.constructors.{module}"), function)
        return build(problem, deadline) if self.searches else build(problem)


_CONTROLLABLE_MEMORY = "Pipeline Parallelism with Controllable Memory, arXiv 2405.15362"
_VOCABULARY_PARALLELISM = (
    "Balancing Pipeline Parallelism with Vocabulary Parallelism, arXiv 2411.05288"
)

CONSTRUCTORS: tuple[Constructor, ...] = (
    Constructor(
        "sequential",
        ("linear", "looped", "v"),
        "one microbatch at a time; fits where anything does",
        "sequential:sequential",
    ),
    Constructor("gpipe", ("linear",), "arXiv 1811.06965", "gpipe:gpipe"),
    Constructor("1f1b", ("linear",), "arXiv 1806.03377", "one_f_one_b:one_f_one_b"),
    Constructor("zb-h1", ("linear",), "arXiv 2401.10241", "handcrafted_zero_bubble:zb_h1"),
    Constructor("zb-h2", ("linear",), "arXiv 2401.10241", "handcrafted_zero_bubble:zb_h2"),
    Constructor(
        "zero-bubble", ("linear",), "arXiv 2401.10241", "zero_bubble:zero_bubble", searches=True
    ),
    Constructor(
        "interleaved-1f1b", ("looped",), "arXiv 2104.04473", "interleaved:interleaved_one_f_one_b"
    ),
    Constructor(
        "interleaved-1f1b-early",
        ("looped",),
        "arXiv 2104.04473, one round trip hidden",
        "interleaved:interleaved_with_early_start",
    ),
    Constructor("breadth-first", ("looped",), "arXiv 2211.05953", "breadth_first:breadth_first"),
    Constructor("gis", ("looped",), "arXiv 2503.01328", "grouped_interleaving:gis"),
    Constructor("gis-h", ("looped",), "arXiv 2503.01328", "grouped_interleaving:gis_h"),
    Constructor(
        "gis-group", ("looped",), "arXiv 2503.01328", "grouped_interleaving:gis_within_limits"
    ),
    Constructor(
        "zb-v",
        ("v",),
        "Zero Bubble Pipeline Parallelism, arXiv 2401.10241",
        "zb_v:zb_v",
        searches=True,
    ),
    Constructor("v-min", ("v",), _CONTROLLABLE_MEMORY, "v_min:v_min"),
    Constructor("v-half", ("v",), _CONTROLLABLE_MEMORY, "v_half:v_half"),
    Constructor("v-blocks", ("v",), _CONTROLLABLE_MEMORY, "v_blocks:v_blocks", searches=True),
    Constructor("po-h", ("looped",), "PipeOffload, arXiv 2503.01328", "pipeoffload:po_half"),
    Constructor("po-f", ("looped",), "PipeOffload, arXiv 2503.01328", "pipeoffload:po_full"),
    Constructor(
        "offload",
        ("linear", "v", "looped"),
        "PipeOffload, arXiv 2503.01328",
        "offloaded:offloaded",
        searches=True,
    ),
    Constructor(
        "vocabulary-1f1b",
        ("linear",),
        _VOCABULARY_PARALLELISM,
        "vocabulary:vocabulary_1f1b",
        searches=True,
    ),
    Constructor(
        "vocabulary-zb",
        ("linear",),
        _VOCABULARY_PARALLELISM,
        "vocabulary:vocabulary_zero_bubble",
        searches=True,
    ),
    Constructor(
        "vocabulary-zb-v",
        ("v",),
        _VOCABULARY_PARALLELISM,
        "vocabulary:vocabulary_zb_v",
        searches=True,
    ),
    Constructor("zeropp", ("linear", "looped"), "ZeroPP, arXiv 2402.03791", "zeropp:zeropp"),
)
