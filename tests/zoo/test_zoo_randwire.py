"""RandWire's random wiring, and the network that is made of it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontends import zoo
from frontends.zoo.randwire import watts_strogatz

from .networks import macs


@pytest.mark.parametrize("seed", [1, 2])
def test_randwire_is_the_network_its_wiring_describes(seed: int) -> None:
    sampler = random.Random(seed)
    width, pixels = 78, 56 * 56
    expected = 39 * 27 * 112 * 112 + 39 * 9 * width * pixels
    incoming = width
    for _ in range(3):
        pixels //= 4
        entered = {sink for _, sink in watts_strogatz(32, 4, 0.75, sampler)}
        for node in range(32):
            depth = width if node in entered else incoming
            expected += pixels * depth * (9 + width)
        incoming, width = width, 2 * width
    assert macs(zoo.randwire(seed=seed)) == expected + incoming * 1000
    assert zoo.parameters(zoo.randwire(seed=seed)) == pytest.approx(4.3e6, rel=0.02)


def test_randwire_with_the_paper_s_classifier_has_the_paper_s_size() -> None:
    models = [
        zoo.randwire(seed=seed, head_channels=1280, fold_batchnorm=False) for seed in range(1, 6)
    ]
    mean_parameters = np.mean([zoo.parameters(model) for model in models])
    mean_macs = np.mean([macs(model) for model in models])
    assert mean_parameters == pytest.approx(5.6e6, abs=0.1e6)
    assert mean_macs == pytest.approx(583e6, abs=6.2e6)


@given(st.integers(5, 40), st.floats(0, 1), st.integers(0, 2**32))
def test_wiring_is_a_simple_directed_acyclic_graph(nodes: int, rewired: float, seed: int) -> None:
    edges = watts_strogatz(nodes, 4, rewired, random.Random(seed))
    assert edges == sorted(set(edges))
    assert len(edges) == 2 * nodes
    assert all(0 <= source < sink < nodes for source, sink in edges)
    assert edges == watts_strogatz(nodes, 4, rewired, random.Random(seed))


def test_wiring_without_rewiring_is_the_ring() -> None:
    ring = {tuple(sorted((v, (v + d) % 9))) for v in range(9) for d in (1, 2)}
    assert watts_strogatz(9, 4, 0.0, random.Random(0)) == sorted(ring)
