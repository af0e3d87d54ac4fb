"""The zoo's models run in ONNX Runtime once weights exist."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import ModelProto, helper

from frontends import zoo

from .networks import built, dims, variants

if TYPE_CHECKING:
    from pathlib import Path

EXECUTED = {
    "amoebanet_d": {"image": 64, "cells": 3, "filters": 32},
    "darts": {"image": 64},
    "deeplabv3_resnet50": {"image": 33},
    "densenet121": {"image": 64},
    "fcn_resnet50": {"image": 33},
    "lraspp": {"image": 65},
    "mobilenet_v2": {"image": 64},
    "mobilenet_v3_large": {"image": 64},
    "nasnet_a_mobile": {"image": 64},
    "pnasnet5_mobile": {"image": 64},
    "r2plus1d_18": {"image": 16, "frames": 4},
    "randwire": {"image": 64},
    "resnet8": {},
    "resnet50": {"image": 64},
    "resnext50": {"image": 64},
    "s3d": {"image": 209, "frames": 13},
    "transformer": {"sequence": 5, "layers": 2, "vocabulary": 100},
    "unet": {"image": 32, "channels": 4},
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", sorted(EXECUTED))
def test_models_run_once_weights_exist(name: str, dtype: str, tmp_path: Path) -> None:
    run_with_zero_weights(zoo.build(name, dtype=dtype, **EXECUTED[name]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_models_of_full_size_run_once_weights_exist(name: str, tmp_path: Path) -> None:
    for fold in variants(name):
        run_with_zero_weights(built(name, fold=fold), tmp_path)


def run_with_zero_weights(model: ModelProto, folder: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    length = sum(
        int(entry.value)
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "length"
    )
    (folder / "weights.bin").touch()
    os.truncate(folder / "weights.bin", length)
    settings = runtime.SessionOptions()
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    feed = {
        value.name: np.zeros(
            dims(value), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        for value in model.graph.input
    }
    results = session.run(None, feed)
    assert [result.shape for result in results] == [dims(value) for value in model.graph.output]
    assert all(np.isfinite(result).all() for result in results)
