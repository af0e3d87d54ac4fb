"""``plan hydrate`` and ``plan strip``: the files they read and write."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from frontends import zoo
from frontends.onnx import external, weights
from frontends.onnx.weights import hydrate
from planner.cli.main import main
from planner.errors import BadFileError

from .weight_models import DATA, absent, model, model_with_hidden_weights, save, stripped, tensor


def read(path: Path) -> ModelProto:
    return onnx.load(path, load_external_data=False)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_are_refilled_and_stripped(tmp_path, capsys):
    source = save(tmp_path / "m.onnx", model(absent(), tensor("v")))
    assert main(["hydrate", str(source), "-o", str(tmp_path / "full.onnx"), "--seed", "5"]) == 0
    told = capsys.readouterr().out
    assert "1 weight without data (8,192 bytes)" in told and "from seed 5" in told
    assert read(tmp_path / "full.onnx") == hydrate(model(absent(), tensor("v")), seed=5).model
    assert main(["strip", str(tmp_path / "full.onnx"), "-o", str(tmp_path / "bare.onnx")]) == 0
    assert "2 weights (16,384 bytes)" in capsys.readouterr().out
    assert main(["hydrate", str(tmp_path / "bare.onnx"), "-o", str(tmp_path / "again.onnx")]) == 0
    assert main(["strip", str(tmp_path / "again.onnx"), "-o", str(tmp_path / "bare2.onnx")]) == 0
    assert (tmp_path / "bare2.onnx").read_bytes() == (tmp_path / "bare.onnx").read_bytes()


def test_data_beside_the_model_is_taken_into_it(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w").write_bytes(b"12345678" + DATA.tobytes())
    small = DATA[0]
    (tmp_path / "v.bin").write_bytes(small.tobytes())
    weight = absent(location="data/w", offset="8", length=str(DATA.nbytes))
    table = absent("table", (9,), TensorProto.INT64)
    (tmp_path / "table.bin").write_bytes(bytes(range(72)))
    source = save(tmp_path / "m.onnx", model(weight, absent("v", small.shape), table))
    (tmp_path / "out").mkdir()
    for verb in ("hydrate", "strip"):
        assert main([verb, str(source), "-o", str(tmp_path / "out" / f"{verb}.onnx")]) == 0
    assert "0 weights without data" in capsys.readouterr().out
    filled, bare = (read(tmp_path / "out" / f"{verb}.onnx") for verb in ("hydrate", "strip"))
    assert [t.raw_data for t in filled.graph.initializer] == [
        *(DATA.tobytes(), small.tobytes(), bytes(range(72)))
    ]
    assert bare.graph.initializer[0].doc_string.startswith('{"mean": ')
    assert bare.graph.initializer[1:] == filled.graph.initializer[1:]


def test_results_too_large_for_protobuf_get_a_data_file(tmp_path, monkeypatch):
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(external, "MAX_WHOLE_BYTES", 12_000)
    monkeypatch.setattr(external, "_GRAPH_BYTES", 2_000)
    made = model(absent(), absent("v", (33, 63)), absent("small", (5,)))
    source = save(tmp_path / "m.onnx", made)
    output = tmp_path / "full.onnx"
    assert main(["hydrate", str(source), "-o", str(output)]) == 0
    assert names_in(tmp_path) == {"m.onnx", "full.onnx", "full.onnx.data"}
    expected = hydrate(made).model
    onnx.checker.check_model(str(output))
    loaded = onnx.load(output)
    for found, wanted in zip(loaded.graph.initializer, expected.graph.initializer, strict=True):
        assert found.raw_data == wanted.raw_data
    assert len(read(output).graph.initializer[2].raw_data) == 20
    offsets = [
        int(entry.value)
        for weight in read(output).graph.initializer
        for entry in weight.external_data
        if entry.key == "offset"
    ]
    assert offsets == [0, 8192]
    feed = {"x": np.ones((2, 32), np.float32)}
    (result,) = ort.InferenceSession(str(output)).run(None, feed)
    (inline,) = ort.InferenceSession(expected.SerializeToString()).run(None, feed)
    assert np.array_equal(result, inline)
    # The other way, and under the same names.
    assert main(["strip", str(output), "-o", str(tmp_path / "bare.onnx")]) == 0
    assert (tmp_path / "bare.onnx").stat().st_size < 2_000
    assert main(["hydrate", str(output), "-o", str(output)]) == 0
    assert onnx.load(output) == loaded


def test_what_no_file_can_hold_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(external, "MAX_WHOLE_BYTES", 12_000)
    monkeypatch.setattr(external, "_GRAPH_BYTES", 2_000)
    source = save(tmp_path / "m.onnx", model_with_hidden_weights())
    assert main(["hydrate", str(source), "-o", str(tmp_path / "full.onnx")]) == 6
    assert "would be larger than 12,000 bytes" in capsys.readouterr().err
    assert names_in(tmp_path) == {"m.onnx"}


@pytest.mark.parametrize("verb", ["hydrate", "strip"])
def test_a_data_file_that_is_too_short_is_an_error(tmp_path, capsys, verb):
    (tmp_path / "w.bin").write_bytes(DATA.tobytes()[:-1])
    source = save(tmp_path / "m.onnx", model(absent()))
    assert main([verb, str(source), "-o", str(tmp_path / "o.onnx")]) == 6
    assert "ends at byte 8,192 of a file of 8,191 bytes" in capsys.readouterr().err
    assert names_in(tmp_path) == {"m.onnx", "w.bin"}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"length": "4"}, "its shape and type need 8,192"),
        ({"offset": "-1"}, "begins at byte -1"),
        ({"offset": "1" + "0" * 30}, "of a file of 8,192 bytes"),
        ({"offset": "x"}, "whole numbers"),
        ({"offset": "9" * 5000}, "whole numbers"),
    ],
)
def test_wrong_offsets_and_lengths_are_refused(tmp_path, entries, reason):
    (tmp_path / "w.bin").write_bytes(DATA.tobytes())
    with pytest.raises(BadFileError, match=reason):
        hydrate(model(absent(**entries)), folder=tmp_path)


def test_a_length_of_a_negative_shape_does_not_read_the_whole_file(tmp_path):
    (tmp_path / "w.bin").write_bytes(DATA.tobytes())
    with pytest.raises(BadFileError, match="negative dimension"):
        hydrate(model(absent(dims=(-4, 1), length="-16")), folder=tmp_path)


@pytest.mark.parametrize("verb", ["hydrate", "strip"])
@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "link/w.bin"])
def test_data_outside_the_folder_is_not_read(tmp_path, capsys, verb, location):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    (tmp_path / "w.bin").write_bytes(DATA.tobytes())
    source = save(inside / "m.onnx", model(absent(location=location)))
    assert main([verb, str(source), "-o", str(inside / "o.onnx")]) == 6
    assert "outside the model's folder" in capsys.readouterr().err


def test_a_link_that_appears_after_the_check_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(DATA.tobytes())
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.setattr(weights, "check_external_data", lambda *_: None)
    (inside / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(BadFileError, match="outside"):
        hydrate(model(absent()), folder=inside)
    # Resolved before, replaced by a link then.
    (inside / "w.bin").unlink()
    (inside / "w.bin").write_bytes(DATA.tobytes())
    real = os.open

    def replace_first(path, flags, *more, **named):
        if Path(path).name == "w.bin":
            Path(path).unlink()
            Path(path).symlink_to(tmp_path / "secret")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", replace_first)
    with pytest.raises(BadFileError, match="cannot be read"):
        hydrate(model(absent()), folder=inside)


def test_links_within_the_folder_are_fine(tmp_path):
    (tmp_path / "real.bin").write_bytes(DATA.tobytes())
    (tmp_path / "w.bin").symlink_to("real.bin")
    filled = hydrate(model(absent()), folder=tmp_path)
    assert filled.tensors == 0
    assert filled.model.graph.initializer[0].raw_data == DATA.tobytes()


@pytest.mark.parametrize("verb", ["hydrate", "strip"])
def test_the_input_is_overwritten_only_under_its_own_name(tmp_path, capsys, verb):
    (tmp_path / "w.bin").write_bytes(DATA.tobytes())
    source = save(tmp_path / "m.onnx", model(absent()))
    (tmp_path / "alias.onnx").symlink_to(source)
    os.link(source, tmp_path / "hard.onnx")
    before = source.read_bytes()
    for output in ("alias.onnx", "hard.onnx", "w.bin"):
        assert main([verb, str(source), "-o", str(tmp_path / output)]) == 2
        assert "would overwrite" in capsys.readouterr().err
    assert source.read_bytes() == before and (tmp_path / "w.bin").read_bytes() == DATA.tobytes()
    assert main([verb, str(source), "-o", str(source)]) == 0
    assert source.read_bytes() != before


def test_data_that_the_model_needs_is_not_overwritten_with_the_weights(tmp_path, capsys):
    (tmp_path / "o.onnx.data").write_bytes(DATA.tobytes())
    source = save(tmp_path / "m.onnx", model(absent(location="o.onnx.data")))
    assert main(["hydrate", str(source), "-o", str(tmp_path / "o.onnx")]) == 2
    assert "o.onnx.data, which the model needs" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["hydrate", "strip"])
@pytest.mark.parametrize("output", ["absent/o.onnx", ".", "m.onnx/o.onnx"])
def test_outputs_that_cannot_be_written_are_told(tmp_path, capsys, verb, output):
    source = save(tmp_path / "m.onnx", model(tensor()))
    assert main([verb, str(source), "-o", str(tmp_path / output)]) == 6
    assert capsys.readouterr().err.count("\n") == 1
    assert names_in(tmp_path) == {"m.onnx"}


@pytest.mark.parametrize("verb", ["hydrate", "strip"])
def test_inputs_that_are_no_models_are_told(tmp_path, capsys, verb):
    garbage = tmp_path / "m.onnx"
    garbage.write_bytes(b"\x08\x08:\xff")
    for source, code in [(garbage, 6), (tmp_path / "absent", 6), (tmp_path, 6)]:
        assert main([verb, str(source), "-o", str(tmp_path / "o.onnx")]) == code
        assert capsys.readouterr().err.count("\n") == 1
    assert main([verb, str(garbage)]) == 2
    assert main(["hydrate", str(garbage), "-o", "o.onnx", "--seed", "x"]) == 2


def test_an_interrupted_command_leaves_no_file(tmp_path, monkeypatch):
    source = save(tmp_path / "m.onnx", model(absent()))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    assert main(["hydrate", str(source), "-o", str(tmp_path / "o.onnx")]) == 130
    assert names_in(tmp_path) == {"m.onnx"}


def test_absurd_weights_are_refused_by_the_command(tmp_path, capsys):
    source = save(tmp_path / "m.onnx", model(absent(dims=(1 << 40,)), stripped("", name="v")))
    assert main(["hydrate", str(source), "-o", str(tmp_path / "o.onnx")]) == 6
    assert "take 4,398,046,519,296 bytes" in capsys.readouterr().err


# Models by others, and the zoo's

RUN = {
    **dict.fromkeys(("deeplab_dm05_513", "fastestdet", "irpy_torchscript_model"), ""),
    **dict.fromkeys(("light_densenet121", "light_inception_v2", "light_resnet50"), ""),
    **dict.fromkeys(("light_squeezenet", "magika_standard_v3_3", "silero_vad_ifless"), ""),
    **dict.fromkeys(("sinet_softmax", "tract_bidi_lstm", "ultraface_RFB_320"), ""),
    **dict.fromkeys(("zigzag_mobilenetv2", "zigzag_resnet8", "zoo_shufflenet_v2_12_int8"), ""),
    "stream_resnet18_full_training": "two nodes with same node name",
    "zigzag_ds_cnn": r"Type 'tensor\(int8\)' of input parameter",
}


@pytest.mark.parametrize("name", RUN)
def test_models_by_others_are_refilled_and_load(name, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: the corpus of models by others is not here")
    source, output = Path(folder) / "models" / f"{name}.onnx", tmp_path / "full.onnx"
    assert main(["hydrate", str(source), "-o", str(output)]) == 0
    onnx.checker.check_model(str(output))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    if RUN[name]:
        with pytest.raises(Exception, match=RUN[name]):
            ort.InferenceSession(str(output), options)
    else:
        ort.InferenceSession(str(output), options)
    if not name.startswith("light_"):
        assert main(["strip", str(output), "-o", str(tmp_path / "bare.onnx")]) == 0
        _assert_equal_but_for_small_absent_ones(read(tmp_path / "bare.onnx"), read(source))


def _assert_equal_but_for_small_absent_ones(bare: ModelProto, original: ModelProto) -> None:
    """Small absent weights are not stripped again; of all others nothing may differ."""
    found, wanted = (
        {id_: t for id_, (_, t, _) in enumerate(external.model_tensors(m))}
        for m in (bare, original)
    )
    for position, tensor_ in wanted.items():
        if weights.is_stripped(tensor_) and not weights.is_stripped(found[position]):
            assert external.tensor_bytes("", tensor_) <= weights.KEEP_BYTES
            found[position].CopyFrom(tensor_)
    assert bare == original


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2", "densenet121"])
def test_networks_of_the_zoo_are_refilled_and_give_finite_values(name, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    source, output = save(tmp_path / "m.onnx", zoo.build(name)), tmp_path / "full.onnx"
    assert main(["hydrate", str(source), "-o", str(output)]) == 0
    onnx.checker.check_model(str(output))
    session = ort.InferenceSession(str(output))
    (given,) = session.get_inputs()
    image = np.random.default_rng(0).normal(size=given.shape).astype(np.float32)
    (result,) = session.run(None, {given.name: image})
    assert np.isfinite(result).all() and result.std() > 1e-3
    assert all(np.isfinite(numpy_helper.to_array(t)).all() for t in read(output).graph.initializer)
