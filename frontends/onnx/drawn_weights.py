"""What is drawn for a weight without values: from a seed, its name and what is known of it.

What is known are mean, standard deviation, minimum and maximum, as JSON in the ``doc_string`` of a
stripped tensor.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from frontends.onnx.dtypes import element_bits, element_name
from planner.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[Any]

STRIPPED = "__stripped__"
"""Location of the data of a stripped tensor."""

# Types that can be drawn, with the values they reach. Of the others, int64 holds indices and
# shapes, bool and strings are no weights.
FLOATS: Mapping[int, float] = {
    TensorProto.FLOAT: float(np.finfo(np.float32).max),
    TensorProto.FLOAT16: float(np.finfo(np.float16).max),
    TensorProto.DOUBLE: float(np.finfo(np.float64).max),
    TensorProto.BFLOAT16: 255 * 2.0**120,
    TensorProto.FLOAT8E4M3FN: 448.0,
    TensorProto.FLOAT8E4M3FNUZ: 240.0,
    TensorProto.FLOAT8E5M2: 57344.0,
    TensorProto.FLOAT8E5M2FNUZ: 57344.0,
}
INTEGERS: Mapping[int, tuple[int, int]] = {
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT8: (-(1 << 7), (1 << 7) - 1),
    TensorProto.UINT8: (0, (1 << 8) - 1),
    TensorProto.INT16: (-(1 << 15), (1 << 15) - 1),
    TensorProto.UINT16: (0, (1 << 16) - 1),
    TensorProto.INT32: (-(1 << 31), (1 << 31) - 1),
}
_FIGURES = ("mean", "std", "min", "max")
_LONGEST_DOC = 1000
_DRAWN_STD = 0.05
_AT_ONCE = 1 << 16
"""Elements drawn or measured at once: in double precision they take more room than they fill."""


def is_stripped(tensor: TensorProto) -> bool:
    """Whether a tensor's values were left out by `strip`."""
    return any(e.key == "location" and e.value == STRIPPED for e in tensor.external_data)


def drawn_content(name: str, tensor: TensorProto, seed: int) -> bytes:
    """Raw data for a tensor without any.

    Normal values, clipped to what is known of the original. Where nothing is known: of a matrix
    or a kernel normal values that keep the scale of activations, of a vector values around 1 (they
    are good variances and scales as well), of integers those of narrow types from the middle half
    of their range, of wide ones 0 and 1, which are valid indices too.

    Raises
    ------
    BadFileError
        If its element type has no such values.
    """
    count = math.prod(tensor.dims)
    kind = tensor.data_type
    if not count:
        return b""
    if not _is_drawable(kind):
        raise BadFileError(
            f'tensor "{name}" has no data, and {element_name(kind)} values cannot be drawn at '
            "random. Put the file with its data beside the model."
        )
    bits = element_bits(kind)
    dtype = np.dtype(np.int8) if bits == 4 else helper.tensor_dtype_to_np_dtype(kind)
    lowest, largest = (-FLOATS[kind], FLOATS[kind]) if kind in FLOATS else INTEGERS[kind]
    known = stated_figures(name, tensor)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    drawn = np.empty(count, dtype)
    for start in range(0, count, _AT_ONCE):
        part = drawn[start : start + _AT_ONCE]
        values = _draw(rng, len(part), tensor, known)
        if kind in INTEGERS:
            values = np.rint(values)
        part[:] = np.clip(values, lowest, largest).astype(dtype)
    if bits == 4:  # two in a byte, the first one low
        halves = np.append(drawn, np.zeros(count % 2, dtype)).view(np.uint8) & 0xF
        drawn = halves[0::2] | halves[1::2] << 4
    return drawn.tobytes()


def _is_drawable(kind: int) -> bool:
    if kind in INTEGERS:
        return True
    # An older release of onnx has no NumPy type for the narrow floats and gives a wider one.
    return kind in FLOATS and (
        8 * helper.tensor_dtype_to_np_dtype(kind).itemsize == element_bits(kind)
    )


def _draw(
    rng: np.random.Generator, count: int, tensor: TensorProto, known: Mapping[str, float]
) -> Array:
    kind, dims = tensor.data_type, tensor.dims
    mean, std, low, high = (known.get(figure, 0.0) for figure in _FIGURES)
    if known and (high > low or std == 0):
        # A weight that was constant is not drawn as one: constant weights hide faults.
        std = std or (0.0 if kind in INTEGERS else _DRAWN_STD)
        values = rng.normal(mean, std, count)
        return np.clip(values, low, high) if high > low else values
    if kind in FLOATS:
        if len(dims) < 2:
            return rng.uniform(0.5, 1.5, count)
        return rng.normal(0.0, math.sqrt(2 / math.prod(dims[1:])), count)
    if element_bits(kind) <= 8:
        lowest, largest = INTEGERS[kind]
        quarter = (largest - lowest + 1) // 4
        return rng.integers(lowest + quarter, largest - quarter, count, endpoint=True)
    return rng.integers(0, 1, count, endpoint=True)


def stated_figures(name: str, tensor: TensorProto) -> dict[str, float]:
    """What the doc string of a stripped tensor says, in its order; nothing of any other.

    Reads ``min`` = ``max`` with a spread as not knowing, see `_draw`: so are tensors described
    that had no values when they were stripped.
    """
    if not is_stripped(tensor) or not tensor.doc_string:
        return {}
    stated = _json_object(tensor.doc_string)
    wrong = f'tensor "{name}": its statistics are '
    if stated is None:
        raise BadFileError(f"{wrong}no JSON object of numbers: {tensor.doc_string[:80]!r}.")
    known = {figure: stated.get(figure, 0.0) for figure in _FIGURES}
    if not all(
        isinstance(value, int | float) and abs(value) <= FLOATS[TensorProto.DOUBLE]
        for value in known.values()
    ):
        raise BadFileError(f"{wrong}not finite numbers: {tensor.doc_string[:80]!r}.")
    if known["std"] < 0 or known["min"] > known["max"]:
        raise BadFileError(f"{wrong}contradictory: {tensor.doc_string[:80]!r}.")
    return {key: value for key, value in stated.items() if key in known}


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        read = json.loads(text) if len(text) <= _LONGEST_DOC else None
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def description(name: str, tensor: TensorProto, content: bytes | None) -> str:
    """The doc string that a tensor gets when it loses its values.

    Parameters
    ----------
    content : bytes or None
        Its raw data; None if it is in the tensor.
    """
    stated = _json_object(tensor.doc_string) or {}
    seed = stated.pop("seed", None)
    if isinstance(seed, int) and seed >= 0:
        before = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        before.external_data.add(key="location", value=STRIPPED)
        before.doc_string = json.dumps(stated) if stated else ""
        given = tensor.raw_data if content is None else content
        try:
            if drawn_content(name, before, seed) == given:
                return before.doc_string
        except BadFileError:
            pass  # its own doc string, not one of ours
    stored = tensor
    if content is not None:
        stored = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=content)
    try:
        values = numpy_helper.to_array(stored)
    except (ValueError, TypeError) as error:
        raise BadFileError(f'tensor "{name}" is malformed: {error}.') from None
    statistics = _statistics(values.reshape(-1))
    return json.dumps(statistics) if statistics else ""


def _statistics(values: Array) -> dict[str, float]:
    """Figures of the finite values, to six digits; none where they say nothing."""

    def finite_parts() -> Iterator[Array]:
        for start in range(0, values.size, _AT_ONCE):
            part = values[start : start + _AT_ONCE].astype(np.float64)
            yield part[np.isfinite(part)]

    with np.errstate(over="ignore"):
        count = sum(part.size for part in finite_parts())
        if not count:
            return {}
        mean = sum(float(part.sum()) for part in finite_parts()) / count
        variance = sum(float(((part - mean) ** 2).sum()) for part in finite_parts()) / count
    figures = {
        "mean": mean,
        "std": math.sqrt(variance) if math.isfinite(variance) else math.inf,
        "min": min(float(part.min()) for part in finite_parts() if part.size),
        "max": max(float(part.max()) for part in finite_parts() if part.size),
    }
    if not all(map(math.isfinite, figures.values())):
        return {}
    return {key: float(f"{value:.6g}") for key, value in figures.items()}
