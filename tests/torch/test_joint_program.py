"""Joint graphs of real models as training problems."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from frontends.torch.joint import joint_program
from planner.target_file import read_target
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps

from . import training_models
from .joint_graphs import joint_graph

MODELS = ("mlp", "gpt2", "llama", "bert", "resnet")


@pytest.fixture(scope="module", params=MODELS)
def program(request):
    model, inputs = getattr(training_models, request.param)()
    caught = joint_graph(model, inputs)
    return joint_program(
        caught.module,
        num_fwd_outputs=caught.num_fwd_outputs,
        static_lifetime_input_indices=caught.static_lifetime_input_indices,
        target=read_target("cpu-core"),
    )


def test_every_real_model_becomes_a_training_problem(program):
    problem = program.problem
    assert len(program.nodes) == len(problem.operator_names)
    assert len(program.values) == len(problem.storage_names)
    everything = just_in_time(problem, problem.boundary.tolist())
    nothing = just_in_time(problem, ())
    assert recompute_ps(problem, everything) == 0
    assert recompute_ps(problem, nothing) > 0
    assert memory_profile(problem, everything).peak_bytes > 0
