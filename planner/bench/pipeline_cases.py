"""The cases of the pipeline suite: settings x chunks x memory limits."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.pipeline_published import TABLE_5, TABLE_8
from planner.errors import UsageError
from planner.pipelining.files.costs_file import CostRow
from planner.pipelining.problem import PipelineObjective

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.bench.pipeline_published import PublishedSetting
    from planner.pipelining.problem import PipelineProblem

QUICK, KNOWN, FULL = "quick", "known", "full"
SETS = {
    QUICK: "4 and 8 devices, some limits",
    KNOWN: "those of which it is known what a search reaches",
    FULL: "up to 32 devices, all limits",
}
LIMITS = ("0.35", "0.5", "0.625", "0.75", "1", "1.125", "1.25", "1.5", "1.75", "2", "3")
_FEW_LIMITS = ("0.5", "0.75", "1", "1.5")
_CHUNKS = (1, 2)
_SEED = 20_240_110
_MILLISECOND = Fraction(1, 1000)

# Bubbles of an earlier search of ours, 10 to 20 seconds each on one core (16 devices: 120): what
# must be reached. By setting, chunks and limit.
KNOWN_BUBBLES = {
    ("4959:5217:3519 4x8", 2, "V-Min"): 0.2742,
    ("4959:5217:3519 4x8", 2, "V-Half"): 0.1449,
    ("4959:5217:3519 4x16", 2, "V-Min"): 0.2162,
    ("4959:5217:3519 4x16", 2, "V-Half"): 0.0781,
    ("4959:5217:3519 8x16", 2, "V-Min"): 0.2566,
    ("4959:5217:3519 8x16", 2, "V-Half"): 0.2001,
    ("4959:5217:3519 8x24", 2, "V-Min"): 0.2008,
    ("4959:5217:3519 8x24", 2, "V-Half"): 0.1429,
    ("4959:5217:3519 8x32", 2, "V-Min"): 0.1731,
    ("4959:5217:3519 8x32", 2, "V-Half"): 0.1117,
    ("4959:5217:3519 16x48", 2, "V-Min"): 0.2940,
    ("4959:5217:3519 16x48", 2, "V-Half"): 0.1626,
    ("1.5B 8x24", 2, "0.35"): 0.5053,
    ("1.5B 8x24", 2, "0.5"): 0.2385,
    ("1.5B 8x24", 2, "0.625"): 0.1671,
    ("1.5B 8x24", 2, "0.75"): 0.1371,
    ("1.5B 8x24", 2, "1"): 0.0703,
    ("1.5B 8x24", 2, "1.5"): 0.0044,
    ("6.2B 8x24", 2, "0.35"): 0.4628,
    ("6.2B 8x24", 2, "0.5"): 0.2008,
    ("6.2B 8x24", 2, "0.625"): 0.1431,
    ("6.2B 8x24", 2, "0.75"): 0.1114,
    ("6.2B 8x24", 2, "1"): 0.0422,
    ("6.2B 8x24", 2, "1.5"): 0.0006,
    ("14.6B 16x48", 2, "0.35"): 0.3827,
    ("14.6B 16x48", 2, "0.5"): 0.2027,
    ("14.6B 16x48", 2, "0.625"): 0.1522,
    ("14.6B 16x48", 2, "0.75"): 0.1215,
    ("14.6B 16x48", 2, "1"): 0.0534,
    ("14.6B 16x48", 2, "1.5"): 0.0000,
    ("14.6B 16x48", 2, "V-Min"): 0.2932,
    ("14.6B 16x48", 2, "V-Half"): 0.1655,
    ("1.5B 8x24", 1, "0.75"): 0.2827,
    ("1.5B 8x24", 1, "1"): 0.1585,
    ("1.5B 8x24", 1, "1.125"): 0.1279,
    ("1.5B 8x24", 1, "1.25"): 0.0951,
    ("1.5B 8x24", 1, "1.5"): 0.0524,
    ("1.5B 8x24", 1, "2"): 0.0436,
    ("6.2B 8x24", 1, "0.75"): 0.2404,
    ("6.2B 8x24", 1, "1"): 0.1323,
    ("6.2B 8x24", 1, "1.125"): 0.1042,
    ("6.2B 8x24", 1, "1.25"): 0.0751,
    ("6.2B 8x24", 1, "1.5"): 0.0475,
    ("6.2B 8x24", 1, "2"): 0.0012,
    ("14.6B 16x48", 1, "0.75"): 0.2223,
    ("14.6B 16x48", 1, "1"): 0.1397,
    ("14.6B 16x48", 1, "1.125"): 0.1111,
    ("14.6B 16x48", 1, "1.25"): 0.0837,
    ("14.6B 16x48", 1, "1.5"): 0.0571,
    ("14.6B 16x48", 1, "2"): 0.0070,
}


class Setting(NamedTuple):
    """Costs of a pipeline, and how many devices and microbatches it has.

    Attributes
    ----------
    model : str
        What the costs are of.
    rows : tuple of CostRow
        Of each device, or one for all.
    devices, microbatches : int
    objective : PipelineObjective
    """

    model: str
    rows: tuple[CostRow, ...]
    devices: int
    microbatches: int
    objective: PipelineObjective = PipelineObjective.LONGEST_STAGE

    @property
    def name(self) -> str:
        """Model, devices x microbatches, and the objective if it is not the usual one."""
        name = f"{self.model} {self.devices}x{self.microbatches}"
        if self.objective is PipelineObjective.LONGEST_STAGE:
            return name
        return f"{name} {self.objective.value}"


class PipelineCase(NamedTuple):
    """One setting cut into chunks, under one memory limit.

    Attributes
    ----------
    setting : Setting
    chunks : int
        Stages per device.
    limit : str
        A multiple of what 1F1B needs, or ``V-Min`` or ``V-Half`` for what those need at equal
        costs (arXiv 2405.15362).
    """

    setting: Setting
    chunks: int
    limit: str

    @property
    def name(self) -> str:
        """Everything that tells it from the others."""
        return f"{self.setting.name}, v={self.chunks}, {self.limit_text}"

    @property
    def limit_text(self) -> str:
        """The limit as people write it."""
        return self.limit if self.limit in _NAMED_LIMITS else f"{self.limit}x"

    @property
    def multiple(self) -> float:
        """The limit as a multiple of what 1F1B needs."""
        if self.limit in _NAMED_LIMITS:
            return _NAMED_LIMITS[self.limit](self.setting.devices) / self.setting.devices
        return float(self.limit)

    @property
    def known_bubble(self) -> float | None:
        """What a search is known to reach; None if nothing is."""
        return KNOWN_BUBBLES.get((self.setting.name, self.chunks, self.limit))

    def problems(self) -> dict[str, PipelineProblem]:
        """Return the problem in every placement worth trying."""
        from planner.pipelining.costs import problem_family

        setting = self.setting
        limit: int | str = f"{self.limit}x"
        if self.limit in _NAMED_LIMITS:
            microbatches = _NAMED_LIMITS[self.limit](setting.devices)
            limit = microbatches * max(row.activation_bytes for row in setting.rows)
        return problem_family(
            setting.rows,
            devices=setting.devices,
            microbatches=setting.microbatches,
            chunks=self.chunks,
            memory_limit=limit,
            objective=setting.objective,
        ).problems


# Microbatches of a whole stage that a device holds, at equal costs.
_NAMED_LIMITS = {
    "V-Min": lambda devices: (devices + 4) // 3,
    "V-Half": lambda devices: (devices + 2) // 2,
}


def chosen_cases(which: str, models: Sequence[str] | None) -> list[PipelineCase]:
    """Return the cases of a set, of some models or of all.

    Raises
    ------
    UsageError
        If there is no such set or model.
    """
    if which not in SETS:
        raise UsageError(f"no set of cases {which!r}. There are: {', '.join(SETS)}.")
    cases = list(_quick() if which == QUICK else _full())
    if which == KNOWN:
        cases = [case for case in cases if case.known_bubble is not None]
    known = list(dict.fromkeys(case.setting.model for case in cases))
    if models is None:
        return cases
    for name in models:
        if name not in known:
            raise UsageError(f"no network {name!r} in {which}. There are: {', '.join(known)}.")
    if not models:
        raise UsageError(f"no network is named. There are: {', '.join(known)}.")
    return [case for case in cases if case.setting.model in models]


def _quick() -> Iterator[PipelineCase]:
    for microbatches in (8, 16):
        yield from _v_cases(_profiled_layer(4, microbatches))
    for setting in (_heavy_ends(4, 8), _uneven_layers(4, 8), _random(4, 8)):
        yield from _crossed(setting, _FEW_LIMITS)
    published = _published(TABLE_5[0])
    yield from _crossed(published._replace(devices=4, microbatches=12), _FEW_LIMITS)
    yield from _crossed(published, ("0.5", "1"))
    whole = published._replace(devices=4, microbatches=8, objective=PipelineObjective.MAKESPAN)
    yield from _crossed(whole, ("0.5", "1"))


def _full() -> Iterator[PipelineCase]:
    for devices, microbatches in ((4, 8), (4, 16), (8, 16), (8, 24), (8, 32), (16, 48)):
        yield from _v_cases(_profiled_layer(devices, microbatches))
    for devices, microbatches in ((4, 12), (8, 24), (16, 48)):
        for build in (_heavy_ends, _uneven_layers, _random):
            yield from _crossed(build(devices, microbatches), LIMITS)
    # The fewest microbatches of each model: the more there are, the less is left to win.
    for setting in (*TABLE_5[::3], *TABLE_8[::3]):
        yield from _crossed(_published(setting, table=5 if setting in TABLE_5 else 8), LIMITS)
    yield from _v_cases(_published(TABLE_5[6]))
    for setting in (TABLE_5[0], TABLE_5[3]):
        small = _published(setting)._replace(devices=4, microbatches=12)
        yield from _crossed(small, LIMITS)
        for whole in (small, _published(setting)):
            objective = PipelineObjective.MAKESPAN
            yield from _crossed(whole._replace(objective=objective), LIMITS)


def _crossed(setting: Setting, limits: Sequence[str]) -> Iterator[PipelineCase]:
    for chunks in _CHUNKS:
        for limit in limits:
            yield PipelineCase(setting, chunks, limit)


def _v_cases(setting: Setting) -> Iterator[PipelineCase]:
    for limit in _NAMED_LIMITS:
        yield PipelineCase(setting, 2, limit)


def _published(setting: PublishedSetting, *, table: int = 5) -> Setting:
    model = setting.model if table == 5 else f"{setting.model} (table 8)"
    return Setting(model, (setting.row(),), setting.devices, setting.microbatches)


def _profiled_layer(devices: int, microbatches: int) -> Setting:
    """Return stages of two layers, each of which takes as long as its name says; M_W = M_B."""
    times = (2 * 4959, 2 * 5217, 2 * 3519, 213)
    row = CostRow(*(Fraction(time, 10**6) for time in times), activation_bytes=2, kept_bytes=2)
    return Setting("4959:5217:3519", (row,), devices, microbatches)


# Of one layer: milliseconds, and bytes per token (arXiv 2401.10241, tables 9 and 3, 14.6B, by 3).
_LAYER = (Fraction(378, 100), Fraction(375, 100), Fraction(271, 100))
_HOP = Fraction(38, 100)
_LAYER_BYTES, _LAYER_KEPT_BYTES = 378_880, 163_840


def _layers(count: Fraction | int, bytes_more: int = 0) -> CostRow:
    """Return what so many layers cost; ``bytes_more`` are held until the backward pass."""
    return CostRow(
        *(time * count * _MILLISECOND for time in _LAYER),
        communication=_HOP * _MILLISECOND,
        activation_bytes=int(_LAYER_BYTES * count) + bytes_more,
        kept_bytes=int(_LAYER_KEPT_BYTES * count),
    )


def _heavy_ends(devices: int, microbatches: int) -> Setting:
    """Return equal stages but for the embedding and the head, each worth part of a layer."""
    inner = [_layers(4)] * (devices - 2)
    first, last = _layers(Fraction(9, 2)), _layers(5, bytes_more=_LAYER_BYTES)
    return Setting("heavy ends", (first, *inner, last), devices, microbatches)


def _uneven_layers(devices: int, microbatches: int) -> Setting:
    """Return stages of three or four layers, as of a model that the devices do not divide."""
    rows = tuple(_layers(4 if (5 * device) % 8 < 5 else 3) for device in range(devices))
    return Setting("uneven layers", rows, devices, microbatches)


def _random(devices: int, microbatches: int) -> Setting:
    """Return stages that differ in everything by up to a third."""
    drawn = random.Random(_SEED + devices)

    def near(middle: int) -> int:
        return drawn.randint(middle * 3 // 4, middle)

    rows = []
    for _ in range(devices):
        times = [Fraction(near(1000), 100) * share for share in (1, 1, Fraction(3, 4))]
        activation = near(1_000_000)
        rows.append(
            CostRow(
                *(time * _MILLISECOND for time in times),
                communication=Fraction(near(60), 100) * _MILLISECOND,
                activation_bytes=activation,
                kept_bytes=activation * near(100) // 200,
            )
        )
    return Setting("random", tuple(rows), devices, microbatches)
