"""Files of weights: what is written comes back, and nothing else is let in."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import BadFileError, PlannerError
from rl.weights import (
    SCHEMA_VERSION,
    Weights,
    WeightsError,
    load_weights,
    save_weights,
    weights_bytes,
)

WEIGHTS = Weights(
    "a test",
    3,
    {
        "first": np.arange(6, dtype=np.float32).reshape(2, 3),
        "second": np.array([1.5, -2.0]),
        "none": np.empty((0, 4), dtype=np.int32),
    },
    {"hidden": [2, 3]},
    {"seed": 7},
    {"ratio": 0.98},
)


def load(path: Path, **changed: Any) -> Weights:
    return load_weights(path, **{"kind": "a test", "feature_version": 3, **changed})


def rewritten(**changed: Any) -> bytes:
    """A file whose metadata say something else."""
    with zipfile.ZipFile(io.BytesIO(weights_bytes(WEIGHTS))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(np.load(io.BytesIO(members["metadata.npy"])).tobytes())
    text = json.dumps({**metadata, **changed}).encode()
    members["metadata.npy"] = as_npy(np.frombuffer(text, dtype=np.uint8))
    return zipped(members)


def as_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    save_weights(path, WEIGHTS)
    loaded = load(path)
    assert loaded.arrays.keys() == WEIGHTS.arrays.keys()
    for name, array in WEIGHTS.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert np.array_equal(loaded.arrays[name], array)
    assert (loaded.network, loaded.training, loaded.score) == (
        WEIGHTS.network,
        WEIGHTS.training,
        WEIGHTS.score,
    )
    with np.load(path, allow_pickle=False) as plain:
        assert np.array_equal(plain["first"], WEIGHTS.arrays["first"])


def test_same_weights_give_the_same_bytes() -> None:
    assert weights_bytes(WEIGHTS) == weights_bytes(WEIGHTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of weights"),
        (b"PK\x03\x04 and then nothing of the kind", "not a file of weights"),
        (zipped({"first.npy": as_npy(np.zeros(3))}), "no metadata"),
        (zipped({"../first.txt": b"text"}), "a member"),
        (zipped({"first.npy": as_npy(np.zeros(3))}, zipfile.ZIP_DEFLATED), "compressed"),
        (rewritten(schema_version=SCHEMA_VERSION + 1), "schema_version 2 is newer than 1"),
        (rewritten(schema_version=True), "no schema_version"),
        (rewritten(feature_version=2), "feature_version 2 is older than 3"),
        (rewritten(kind="another"), "weights for 'another', needed are 'a test'"),
        (rewritten(sha256="0"), "sha256 differs"),
        (rewritten(score=[]), "score in its metadata is not an object"),
        (zipped({"metadata.npy": as_npy(np.frombuffer(b"[" * 5000, np.uint8))}), "not JSON"),
        (zipped({"metadata.npy": as_npy(np.frombuffer(b"[]", np.uint8))}), "not a JSON object"),
        (zipped({f"{k}.npy": b"" for k in range(300)}), "more than 256"),
    ],
)
def test_foreign_and_newer_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load(path)


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "was run").touch, ())

    buffer = io.BytesIO()
    np.save(buffer, np.array([Hostile()], dtype=object), allow_pickle=True)
    (tmp_path / "was run").unlink(missing_ok=True)
    path = tmp_path / "weights.npz"
    path.write_bytes(zipped({"first.npy": buffer.getvalue()}))
    with pytest.raises(WeightsError, match="pickle"):
        load(path)
    assert not (tmp_path / "was run").exists()


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)}
    )
    path = tmp_path / "weights.npz"
    path.write_bytes(zipped({"first.npy": buffer.getvalue()}))
    with pytest.raises(WeightsError, match="0 bytes, which is not"):
        load(path)


def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path) -> None:
    bad = Weights("a test", 3, {"first": np.array([np.nan])})
    with pytest.raises(ValueError, match="not finite"):
        weights_bytes(bad)
    whole = weights_bytes(Weights("a test", 3, {"first": np.array([0.5])}))
    path = tmp_path / "weights.npz"
    path.write_bytes(whole.replace(np.array([0.5]).tobytes(), np.array([np.inf]).tobytes()))
    with pytest.raises(WeightsError):
        load(path)


def test_large_missing_and_special_files_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.npz"
    with large.open("wb") as file:
        file.truncate(1 << 23)
    for path in (large, tmp_path / "missing.npz", tmp_path, Path("/dev/zero")):
        with pytest.raises(WeightsError):
            load(path)
    assert issubclass(WeightsError, BadFileError)
    assert issubclass(WeightsError, PlannerError)


def test_arrays_of_other_shapes_are_named() -> None:
    shapes = {name: array.shape for name, array in WEIGHTS.arrays.items()}
    WEIGHTS.require_shapes(shapes)
    for wrong, message in (
        ({**shapes, "first": (3, 2)}, "'first' has shape"),
        ({**shapes, "third": (1,)}, "'third' is missing"),
        ({"first": (2, 3), "none": (0, 4)}, "no use for an array 'second'"),
    ):
        with pytest.raises(WeightsError, match=message):
            WEIGHTS.require_shapes(wrong, source="w.npz")


@given(place=st.integers(0, len(weights_bytes(WEIGHTS)) - 1), flipped=st.integers(1, 255))
def test_any_changed_byte_is_noticed_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, flipped: int
) -> None:
    content = bytearray(weights_bytes(WEIGHTS))
    content[place] ^= flipped
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(content)
    try:
        loaded = load(path)
    except WeightsError:
        return
    assert loaded.arrays.keys() == WEIGHTS.arrays.keys()
    for name, array in WEIGHTS.arrays.items():
        assert np.array_equal(loaded.arrays[name], array)


@given(kept=st.integers(0, len(weights_bytes(WEIGHTS)) - 1))
def test_truncated_files_are_refused(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated.npz"
    path.write_bytes(weights_bytes(WEIGHTS)[:kept])
    with pytest.raises(WeightsError):
        load(path)
