"""A model becomes the stages of a pipeline that can be scheduled."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import planner
from frontends import zoo
from planner.errors import DoesNotFitError, LoweringError, UsageError
from planner.pipelining.memory import device_memory
from planner.pipelining.partitioning.megatron_layout import megatron_layout
from planner.pipelining.partitioning.output_layer import find_output_layer
from planner.pipelining.partitioning.partition import Partition, partition_fields
from planner.pipelining.partitioning.partition_model import partition_model
from planner.pipelining.partitioning.training_costs import training_costs
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from planner.report.pipeline_partition_text import render_partition
from planner.target import Compute, Memory, Target
from planner.target_file import read_target

from .transformer_layer import gpt_layers

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.pipelining.problem import PipelineProblem

GPU = read_target("gpu-80g")


@cache
def graph_of(name: str) -> Graph:
    return planner.load(zoo.build(name))


@cache
def layers_of(count: int) -> Graph:
    return planner.load(gpt_layers(batch=4, tokens=256, features=512, heads=8, layers=count))


def one_forward_one_backward(problem: PipelineProblem) -> PipelineSchedule:
    """1F1B with one stage per device, the gradient of the weights right after that of the input."""
    passes = []
    for stage in range(problem.devices):
        warm = min(problem.microbatches, problem.devices - 1 - stage)
        order = [Pass(PassKind.FORWARD, stage, index) for index in range(warm)]
        for index in range(problem.microbatches):
            if warm + index < problem.microbatches:
                order.append(Pass(PassKind.FORWARD, stage, warm + index))
            order.append(Pass(PassKind.BACKWARD, stage, index))
            order.append(Pass(PassKind.WEIGHT, stage, index))
        passes.append(tuple(order))
    return PipelineSchedule("1f1b", problem.device_of, tuple(passes))


def assert_complete(partition: Partition, operators: int) -> None:
    assert partition.stages[0].first == 0
    assert partition.stages[-1].last == operators - 1
    for before, after in zip(partition.stages, partition.stages[1:], strict=False):
        assert after.first == before.last + 1
        assert before.cut_bytes > 0
    assert all(stage.first <= stage.last for stage in partition.stages)
    partition.problem()


@pytest.mark.parametrize("chunks", [1, 2, 4])
@pytest.mark.parametrize("name", ["gpt2_prefill", "bert_base", "resnet50", "unet", "transformer"])
def test_networks_are_cut_into_balanced_stages(name: str, chunks: int) -> None:
    graph = graph_of(name)
    partition = partition_model(graph, GPU, devices=4, chunks=chunks, microbatches=16)
    assert_complete(partition, len(graph.operators))
    assert partition.largest_load >= partition.ideal_load
    problem = partition.problem()
    assert problem.ideal_ticks >= partition.ideal_load * (chunks if chunks == 4 else 1)
    total = sum(stage.costs.work for stage in partition.stages)
    work = training_costs(graph, GPU)
    seconds = (work.forward_s + work.backward_s + work.weight_s).sum()
    assert float(total * partition.tick_s) == pytest.approx(seconds, rel=1e-3)


def test_equal_layers_are_cut_between_layers() -> None:
    partition = partition_model(
        layers_of(8), GPU, devices=4, microbatches=8, link_bandwidth=100e9, link_latency=0.0
    )
    cuts = [stage.first_name for stage in partition.stages]
    assert [name.split(".")[0] for name in cuts] == ["layer0", "layer2", "layer4", "layer6"]
    features = 4 * 256 * 512 * 2
    assert {stage.cut_bytes for stage in partition.stages[:-1]} == {features}
    # sbh (34 h + 5 a s) and two statistics per token and normalisation, two layers each
    tokens = 4 * 256
    saved = 2 * (tokens * (34 * 512 + 5 * 8 * 256) + 16 * tokens)
    assert {stage.saved_bytes for stage in partition.stages} == {saved}
    assert {stage.kept_bytes for stage in partition.stages} == {2 * 32 * tokens * 512}


def test_v_placement_balances_devices_and_not_stages() -> None:
    graph = graph_of("gpt2_prefill")
    partition = partition_model(
        graph, GPU, devices=4, chunks=2, microbatches=8, link_bandwidth=300e9, link_latency=0.0
    )
    assert partition.placement == "v"
    problem = partition.problem()
    busy = [problem.busy_ticks(device) / 8 for device in range(4)]
    assert max(busy) <= 1.02 * sum(busy) / 4


def test_a_slower_device_gets_less_work() -> None:
    partition = partition_model(
        layers_of(12), GPU, devices=3, microbatches=8, speeds=(1.0, 0.5, 1.0), link_bandwidth=1e12
    )
    sizes = [stage.last - stage.first + 1 for stage in partition.stages]
    assert sizes[1] < 0.65 * sizes[0]
    work = [stage.costs.work for stage in partition.stages]
    assert max(work) <= 1.15 * min(work)


def test_dear_links_move_the_cuts() -> None:
    graph = graph_of("unet")
    cheap = partition_model(graph, GPU, devices=3, microbatches=4, link_bandwidth=1e15)
    dear = partition_model(graph, GPU, devices=3, microbatches=4, link_bandwidth=1e9)

    def sent(partition: Partition) -> int:
        return sum(stage.cut_bytes for stage in partition.stages)

    assert sent(dear) < sent(cheap)
    assert dear.largest_load * dear.tick_s > cheap.largest_load * cheap.tick_s


def test_the_output_layer_can_be_split_over_all_devices() -> None:
    graph = graph_of("gpt2_prefill")
    costs = training_costs(graph, GPU)
    layer = find_output_layer(costs)
    assert layer is not None
    assert (layer.vocabulary, layer.embedding) == (50257, 0)
    assert layer.first == len(graph.operators) - 1
    for barriers in (1, 2):
        partition = partition_model(graph, GPU, devices=4, microbatches=8, vocabulary=barriers)
        assert_complete(partition, layer.first)
        vocabulary = partition.problem().vocabulary
        assert vocabulary is not None
        assert vocabulary.barriers == barriers
        head = costs.forward_s[-1] + costs.backward_s[-1] + costs.weight_s[-1]
        ticks = vocabulary.forward + vocabulary.backward
        assert float(ticks * partition.tick_s) == pytest.approx(head / 4, rel=1e-3)
        whole = partition_model(graph, GPU, devices=4, microbatches=8)
        assert sum(partition.state_bytes) == pytest.approx(sum(whole.state_bytes), rel=1e-6)
    two = partition_model(graph, GPU, devices=4, microbatches=8, vocabulary=2).vocabulary
    one = partition_model(graph, GPU, devices=4, microbatches=8, vocabulary=1).vocabulary
    assert one is not None
    assert two is not None
    assert one.forward > two.forward


@pytest.mark.parametrize("name", ["resnet50", "bert_base", "unet"])
def test_networks_without_a_vocabulary_have_no_output_layer_to_split(name: str) -> None:
    with pytest.raises(UsageError, match="no output layer to split"):
        partition_model(graph_of(name), GPU, devices=4, microbatches=8, vocabulary=1)


def test_a_memory_limit_moves_work_away_from_the_fullest_device() -> None:
    graph = layers_of(8)
    free = partition_model(graph, GPU, devices=4, microbatches=8, link_bandwidth=1e12)
    held = [
        stage.in_flight * stage.costs.activation_bytes + stage.state_bytes for stage in free.stages
    ]
    limit = int(0.9 * held[0])
    tight = partition_model(
        graph, GPU, devices=4, microbatches=8, link_bandwidth=1e12, memory_limit=limit
    )
    for stage in tight.stages:
        room = stage.in_flight * stage.costs.activation_bytes + stage.state_bytes
        assert room <= limit
    assert tight.stages[0].costs.work < free.stages[0].costs.work
    assert tight.activation_limits == tuple(limit - s.state_bytes for s in tight.stages)


def test_partition_and_schedule_agree_on_the_microbatches_in_flight() -> None:
    graph = layers_of(8)
    free = partition_model(graph, GPU, devices=4, microbatches=8, link_bandwidth=1e12)
    first = free.stages[0]
    limit = int(0.95 * (4 * first.costs.activation_bytes + first.state_bytes))
    tight = partition_model(
        graph,
        GPU,
        devices=4,
        microbatches=8,
        link_bandwidth=1e12,
        memory_limit=limit,
        schedule=one_forward_one_backward,
    )
    problem = tight.problem()
    timeline = simulate_pipeline(problem, one_forward_one_backward(problem))
    for profile, most in zip(device_memory(problem, timeline), problem.limits, strict=True):
        assert most is not None
        assert profile.peak <= most


def test_too_little_memory_is_refused_with_what_would_do() -> None:
    graph = layers_of(4)
    with pytest.raises(DoesNotFitError, match=r"About [\d,]+ B would do") as caught:
        partition_model(graph, GPU, devices=2, microbatches=4, memory_limit=1000)
    assert caught.value.proven
    enough = int(str(caught.value).split("About ")[1].split(" B")[0].replace(",", ""))
    partition_model(graph, GPU, devices=2, microbatches=4, memory_limit=enough)
    with pytest.raises(DoesNotFitError):
        partition_model(graph, GPU, devices=2, microbatches=4, memory_limit=int(0.97 * enough))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"devices": 0}, "0 devices"),
        ({"microbatches": 0}, "0 microbatches"),
        ({"chunks": 0}, "0 chunks"),
        ({"devices": 500}, "cannot be cut into 500 stages"),
        ({"chunks": 2, "placement": "linear"}, "no placement"),
        ({"memory_limit": -1}, "negative"),
        ({"link_bandwidth": 0.0}, "above 0"),
        ({"link_bandwidth": float("nan")}, "above 0"),
        ({"link_latency": -1.0}, "must not be negative"),
        ({"speeds": (1.0,)}, "1 speeds for 4 devices"),
        ({"speeds": (1.0, 1.0, 0.0, 1.0)}, "device 2: a speed of 0"),
        ({"speeds": (1.0, 1.0, 1.0, float("nan"))}, "device 3: a speed of nan"),
        ({"devices": 10**12}, "cannot be cut"),
        ({"link_bandwidth": 1e-300}, "more than can be planned"),
        ({"link_bandwidth": 1e9, "link_latency": 1e300}, "more than can be planned"),
        ({"vocabulary": 3}, "3 barriers"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(arguments: dict[str, object], words: str) -> None:
    given = {"devices": 4, "microbatches": 8, **arguments}
    with pytest.raises(UsageError, match=words):
        partition_model(graph_of("resnet50"), GPU, **given)  # type: ignore[arg-type]


def test_a_target_without_rates_is_refused() -> None:
    with pytest.raises(UsageError, match="has no"):
        partition_model(
            graph_of("resnet50"), Target("bare", (Memory("ram"),)), devices=2, microbatches=2
        )


def test_a_target_without_links_sends_for_nothing_and_says_so() -> None:
    target = Target(
        "one",
        (Memory("ram", read_bandwidth=1e9, write_bandwidth=1e9),),
        compute=Compute({"default": 1e9}, 1e9),
    )
    partition = partition_model(graph_of("resnet50"), target, devices=2, microbatches=2)
    assert partition.stages[0].costs.communication == 0
    assert any("sending costs nothing" in note for note in partition.notes)


def test_the_table_names_every_stage() -> None:
    partition = partition_model(
        graph_of("gpt2_prefill"), GPU, devices=4, microbatches=16, vocabulary=2, memory_limit=10**10
    )
    text = render_partition(partition)
    assert "gather_1" in text
    assert "ln_f" in text
    assert "50,257 logits, split over all devices" in text
    lines = text.splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("stage  dev"))
    assert [line.split()[0] for line in lines[head + 1 : head + 5]] == ["0", "1", "2", "3"]


def test_the_json_form_holds_seconds_and_bytes() -> None:
    partition = partition_model(graph_of("resnet50"), GPU, devices=4, chunks=2, microbatches=16)
    fields = json.loads(json.dumps(partition_fields(partition)))
    assert len(fields["stages"]) == 8
    assert fields["stages"][0]["first"] == 0
    assert [stage["device"] for stage in fields["stages"]] == [0, 1, 2, 3, 3, 2, 1, 0]
    work = sum(
        stage[name]
        for stage in fields["stages"]
        for name in ("forward_s", "backward_s", "weight_s")
    )
    assert work / 4 <= fields["largest_load_s"] * 1.001


def test_megatron_is_told_whole_layers() -> None:
    graph = graph_of("gpt2_prefill")
    partition = partition_model(graph, GPU, devices=4, microbatches=16, link_bandwidth=1e12)
    layout = megatron_layout(partition, graph)
    assert layout is not None
    stages = layout.split("|")
    assert len(stages) == 4
    assert stages[0].startswith("E")
    assert stages[-1].endswith("L")
    counts = [stage.strip("EL").removeprefix("t").removeprefix("*") or "1" for stage in stages]
    assert sum(map(int, counts)) == 12
    assert megatron_layout(partition, graph_of("resnet50")) is None
    paired = partition_model(graph, GPU, devices=4, chunks=2, microbatches=16)
    assert megatron_layout(paired, graph) is None


def data_folder() -> Path:
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: models of others are not partitioned")
    return Path(folder) / "models"


@pytest.mark.parametrize(
    "name",
    [
        "deeplab_dm05_513",
        "fastestdet",
        "irpy_torchscript_model",
        "light_densenet121",
        "light_inception_v2",
        "light_resnet50",
        "light_squeezenet",
        "magika_standard_v3_3",
        "sinet_softmax",
        "ultraface_RFB_320",
        "zigzag_mobilenetv2",
        "zigzag_resnet8",
    ],
)
def test_models_of_others_are_cut(name: str) -> None:
    dims = {"unk__214": 1} if name.startswith("magika") else {}
    graph = planner.load(data_folder() / f"{name}.onnx", dims=dims)
    partition = partition_model(graph, GPU, devices=4, microbatches=8, link_bandwidth=100e9)
    assert_complete(partition, len(graph.operators))


def test_a_training_graph_is_refused() -> None:
    graph = planner.load(data_folder() / "stream_resnet18_full_training.onnx")
    with pytest.raises(LoweringError, match="Give the forward pass alone"):
        partition_model(graph, GPU, devices=4, microbatches=8)
