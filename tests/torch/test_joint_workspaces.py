"""Scratch of operators, as measured and as they are run."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch._subclasses import FakeTensorMode
from torch.fx import Graph

from frontends.torch import workspaces
from frontends.torch.workspaces import workspace_bytes

aten = torch.ops.aten


def call(target, *args, device="cpu"):
    """A node of fake operands; shapes among the arguments stand for them."""
    graph, mode = Graph(), FakeTensorMode()
    operands = []
    for position, arg in enumerate(args):
        if isinstance(arg, tuple):
            node = graph.placeholder(f"x{position}")
            with mode:
                node.meta["val"] = torch.empty(arg, device=device)
            operands.append(node)
        else:
            operands.append(arg)
    node = graph.call_function(target, tuple(operands))
    with mode:
        node.meta["val"] = target(*(getattr(o, "meta", {"val": o})["val"] for o in operands))
    return node


def convolution(size, device="cpu"):
    one, none = [1, 1], [0, 0]
    data = (2, 8, size, size)
    return call(
        *(aten.convolution.default, data, (8, 8, 3, 3), None, one, one, one, False, none, 1),
        device=device,
    )


def test_dropout_needs_its_random_numbers_beside_its_results():
    node = call(aten.native_dropout.default, (64, 64), 0.5, True)
    state = torch.random.get_rng_state()
    assert workspace_bytes(node) == 64 * 64 * 4
    assert torch.equal(torch.random.get_rng_state(), state)


def test_products_and_elementwise_operators_have_none_and_are_not_run(monkeypatch):
    monkeypatch.setattr(workspaces, "_measure", lambda *_: pytest.fail("was run"))
    assert workspace_bytes(call(aten.mm.default, (8, 8), (8, 8))) == 0
    assert workspace_bytes(call(aten.sin.default, (8, 8))) == 0


def test_each_shape_is_measured_once(monkeypatch):
    monkeypatch.setattr(workspaces, "_MEASURED", {})
    first = workspace_bytes(convolution(9))
    monkeypatch.setattr(workspaces, "_measure", lambda *_: -1)
    assert workspace_bytes(convolution(9)) == first >= 0
    assert workspace_bytes(convolution(11)) == -1


def test_what_is_too_large_is_unknown_and_not_run(monkeypatch):
    monkeypatch.setattr(workspaces, "_measure", lambda *_: pytest.fail("was run"))
    assert workspace_bytes(convolution(10_000)) is None


def test_other_devices_have_no_scratch_that_could_be_measured_here(monkeypatch):
    monkeypatch.setattr(workspaces, "_measure", lambda *_: pytest.fail("was run"))
    assert workspace_bytes(convolution(8, device="meta")) == 0


def test_operators_that_zeros_do_not_suit_count_as_without(monkeypatch):
    def refuse(*_):
        raise RuntimeError("singular")

    assert workspaces._measure(refuse, (), {}) == 0
