"""Models by others and from the zoo run inside their planned memory, bit for bit.

Each with the plan for one unlimited memory, with plans that spill, at the midpoint between what the
largest operator needs and the peak, and with a plan by chance. Where an operator alone needs the
peak no plan spills but that one. Measured arenas are as high as planned ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import planner
from frontends import zoo
from planner.errors import DoesNotFitError
from planner.execution.api import Prepared, prepare
from planner.execution.executor import execute_plan
from planner.execution.result import Verdict
from planner.footprint import largest_footprint
from planner.target_file import read_target
from planner.testing import naive_plan

from ..check.damage import TARGETS  # noqa: TID252
from ..onnx.test_onnx_corpus import DIMS, GOLDEN, LIGHT, corpus  # noqa: TID252
from .executable_plans import least_capacity, require_proof, roomy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.plans import Plan
    from planner.target import Target

SCRATCHPAD = roomy(read_target("npu-1m"))
# The caller's values are in the nearest memory, and storages move inside it.
RELOCATING = replace(roomy(TARGETS[4]), io_memory="sram")


class Subject(NamedTuple):
    """A model that is planned in several ways."""

    name: str
    source: Any
    dims: Mapping[str, int] = {}
    seconds: float = 2.0

    def plan(self, **options: Any) -> Plan:
        return planner.plan(
            self.source, dims=self.dims, **{"time_limit": self.seconds, **options}
        ).plan


def prove(subject: Subject, prepared: Prepared, plan: Plan) -> None:
    outcome = execute_plan(prepared.model, prepared.reference, plan)
    require_proof(f"{subject.name} on {plan.target.name}", outcome)


def capacity_between(subject: Subject, target: Target, *, in_place: bool) -> int | None:
    """The midpoint between the largest operator and the peak; None where they are equal."""
    graph = planner.load(subject.source, dims=subject.dims)
    peak = subject.plan(target=target, in_place=in_place, objective="peak").metrics.peak_bytes
    least = least_capacity(graph, target, in_place=in_place)
    middle = (least + peak[target.nearest.name]) // 2
    return middle if least < middle else None


def spilled(subject: Subject, target: Target, **options: Any) -> Plan | None:
    """A plan at the midpoint: without overwriting where it makes peak and operator coincide."""
    for in_place in (True, False):
        capacity = capacity_between(subject, target, in_place=in_place)
        if capacity is None:
            continue
        memory = {"sram": capacity}
        try:
            return subject.plan(target=target, memory=memory, in_place=in_place, **options)
        except DoesNotFitError as error:  # the caller's own values may need more
            print(f"{subject.name}: {error}")
    return None


def survey(subject: Subject, *, by_chance: bool = True, **options: Any) -> list[str]:
    """Prove all plans of a model. Return those that were spilled, as text."""
    unlimited = subject.plan()
    prepared = prepare(subject.source, unlimited)
    prove(subject, prepared, unlimited)
    disagreement = prepared.whole.disagreement(prepared.reference)
    assert disagreement is None, disagreement.message
    found = []
    for target in (SCRATCHPAD, RELOCATING):
        plan = spilled(subject, target, **options)
        if plan is not None:
            prove(subject, prepared, plan)
            traffic, copies = plan.metrics.traffic_bytes, len(plan.transfers)
            found.append(f"{target.name} {traffic:,} B in {copies} copies")
    if by_chance:
        plan = naive_plan(prepared.model.graph, RELOCATING, seed=1, split=0.3)
        assert plan.transfers or len(plan.order) < 10
        prove(subject, prepared, plan)
    print(f"{subject.name}: {len(unlimited.order)} operators, {'; '.join(found) or 'no spills'}")
    return found


def light(name: str, seconds: float = 2.0) -> Subject:
    return Subject(name, LIGHT / f"light_{name}.onnx", seconds=seconds)


def network(name: str, seconds: float = 2.0, **options: Any) -> Subject:
    return Subject(f"{name} {options or ''}", zoo.build(name, **options), seconds=seconds)


# Models inside the onnx package


def test_a_model_of_the_onnx_package_is_exact():
    assert survey(light("shufflenet", 1.0), by_chance=False)


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(LIGHT.glob("*.onnx")), ids=lambda file: file.stem)
def test_all_models_of_the_onnx_package_are_exact(file):
    survey(Subject(file.stem, file, seconds=3.0))


# Models by others

_REFUSED = {
    "zigzag_ds_cnn": "int8",
    "stream_resnet18_full_training": "two nodes with same node name",
}
_QUICK = ("zigzag_resnet8", "tract_bidi_lstm", "silero_vad_ifless", "irpy_torchscript_model")


@pytest.mark.parametrize("name", _QUICK)
def test_a_small_model_of_the_corpus_is_exact(name):
    survey(Subject(name, corpus(name), DIMS.get(name, {}), seconds=1.0))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(GOLDEN.keys() - _REFUSED.keys()))
def test_every_model_of_the_corpus_is_exact(name):
    survey(Subject(name, corpus(name), DIMS.get(name, {}), seconds=3.0))


@pytest.mark.parametrize(
    "name", ["zigzag_ds_cnn", pytest.param("stream_resnet18_full_training", marks=pytest.mark.slow)]
)
def test_a_model_that_the_runtime_refuses_is_not_executed_and_the_reason_is_named(name):
    path = corpus(name)
    plan = planner.plan(path, time_limit=1.0, solvers=["greedy"]).plan
    outcome = planner.execute(path, plan)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert outcome.reason.startswith("ONNX Runtime refuses the model: ")
    assert _REFUSED[name] in outcome.reason


# The zoo

_SMALL: dict[str, dict[str, Any]] = {
    "amoebanet_d": {"image": 32, "cells": 3, "filters": 16},
    "bert_base": {"sequence": 8},
    "darts": {"image": 32, "channels": 8, "layers": 3},
    "deeplabv3_resnet50": {"image": 32},
    "densenet121": {"image": 32},
    "fcn_resnet50": {"image": 32},
    "gpt2_decode": {"cached": 7},
    "gpt2_prefill": {"sequence": 8},
    "lraspp": {"image": 32},
    "mobilenet_v2": {"image": 32},
    "mobilenet_v3_large": {"image": 32},
    "nasnet_a_large": {"image": 32, "cells": 1, "filters": 96},
    "nasnet_a_mobile": {"image": 32, "cells": 1, "filters": 96},
    "pnasnet5_large": {"image": 32, "cells": 1, "filters": 8},
    "pnasnet5_mobile": {"image": 32, "cells": 1, "filters": 8},
    "r2plus1d_18": {"frames": 4, "image": 32},
    "randwire": {"image": 32, "channels": 8, "nodes": 8},
    "resnet50": {"image": 32},
    "resnet8": {"image": 16},
    "resnext50": {"image": 32},
    "s3d": {"frames": 16},  # its last window has 7 by 7 pixels
    "transformer": {"sequence": 8, "layers": 1, "vocabulary": 50},
    "unet": {"image": 32, "channels": 8, "depth": 3},
    "vit_b_16": {"image": 32},
}
_CHEAP = ("mobilenet_v2", "randwire", "resnet8", "transformer", "unet")


def test_small_options_are_given_for_the_whole_zoo():
    assert tuple(sorted(_SMALL)) == zoo.names()


@pytest.mark.parametrize("name", _CHEAP)
def test_a_small_network_of_the_zoo_is_exact(name):
    survey(network(name, 1.0, **_SMALL[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_SMALL.keys() - set(_CHEAP)))
def test_every_network_of_the_zoo_is_exact_in_small(name):
    survey(network(name, 2.0, **_SMALL[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_every_network_of_the_zoo_is_exact_in_full_size(name):
    survey(network(name, 3.0), by_chance=False)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_half_precision_is_rounded_after_every_operator(dtype):
    subject = Subject(dtype, zoo.build("resnet8", image=8, dtype=dtype))
    survey(subject)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_type_that_convolutions_do_not_take_is_not_executed(dtype):
    model = zoo.build("resnet8", image=8, dtype=dtype)
    outcome = planner.execute(model, planner.plan(model, time_limit=1.0).plan)
    assert outcome.verdict is Verdict.NOT_EXECUTED
    assert f"tensor({dtype})" in outcome.reason
    assert "node (conv)" in outcome.reason


# Other ways to plan


@pytest.mark.parametrize(
    "options",
    [
        {"partial_spills": True},
        {"zero_copy": True},
        {"objective": "latency"},
        {"in_place": False, "zero_copy": True, "partial_spills": True},
    ],
    ids=str,
)
def test_every_way_to_plan_a_model_is_exact(options):
    model = zoo.build("transformer", **_SMALL["transformer"])
    for target in (SCRATCHPAD, RELOCATING):
        plan = planner.plan(
            model, target=target, memory={"sram": 139_264}, time_limit=1.0, **options
        ).plan
        require_proof(target.name, planner.execute(model, plan))


def test_weights_that_move_are_exact():
    model = zoo.build("resnet8", image=8)
    graph = planner.load(model, parameters=True, alignment_bytes=16)
    least = largest_footprint(graph, in_place=True, alignment_bytes=16).size_bytes
    plan = planner.plan(
        model, target="npu-1m", memory={"sram": least + 4096}, parameters=True, time_limit=1.0
    ).plan
    assert plan.metrics.compulsory_bytes > 300_000
    outcome = planner.execute(model, plan)
    require_proof("parameters", outcome)
    assert outcome.copied_bytes == plan.metrics.compulsory_bytes + plan.metrics.traffic_bytes
