"""Bind what a model file leaves open: symbolic dimensions and whole shapes, by the user's word."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from frontends.onnx.dtypes import MAX_BYTES, TensorType, element_names, element_number
from planner.errors import LoweringError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx import ModelProto, ValueInfoProto

_BATCH = re.compile(r"(.*[^a-z0-9])?batch([^a-z0-9]?(size|dim|axis))?|n|b|bs", re.IGNORECASE)
_SHAPE = re.compile(r"(?P<dims>\d+(x\d+)*)?:(?P<dtype>[A-Za-z0-9]+)")


@dataclass(slots=True)
class Bindings:
    """What `--dim` and the defaults bind.

    Attributes
    ----------
    symbols : dict of str to int
        Bound everywhere the symbol occurs, unless places make it mean different sizes.
    places : dict of (str, int) to int
        Input name and axis; wins over the symbol. In the end every open one of the inputs.
    applied : list of (str, int)
        All bindings as keys of `--dim`, defaults included.
    defaults : list of str
        Symbols that were bound to 1 without being asked.
    open_symbols : set of str
        Symbols of the file that nothing binds.
    """

    symbols: dict[str, int] = field(default_factory=dict)
    places: dict[tuple[str, int], int] = field(default_factory=dict)
    applied: list[tuple[str, int]] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    open_symbols: set[str] = field(default_factory=set)

    def shape_of(self, value: ValueInfoProto) -> tuple[int | str, ...] | None:
        """Dims of a declared tensor, open ones by symbol (``""`` if none); None without a rank."""
        if not value.type.tensor_type.HasField("shape"):
            return None
        dims: list[int | str] = []
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                dims.append(dim.dim_value)
            else:
                symbol = dim.dim_param
                bound = self.places.get((value.name, axis), self.symbols.get(symbol))
                dims.append(symbol if bound is None else bound)
        return tuple(dims)


def bind_dims(
    inputs: Iterable[ValueInfoProto],
    others: Iterable[ValueInfoProto],
    dims: Mapping[str, int],
    shapes: Mapping[str, TensorType],
) -> Bindings:
    """Match the keys of `--dim` with the model; bind an open batch dimension to 1.

    Parameters
    ----------
    inputs : iterable of ValueInfoProto
        The true inputs of the graph, without initializers.
    others : iterable of ValueInfoProto
        Every other declared value: symbols may occur there alone.
    dims : mapping of str to int
        ``NAME`` or ``INPUT:AXIS`` (split at the last colon) to size.
    shapes : mapping of str to TensorType
        Tensors whose shape the user gives whole.

    Raises
    ------
    UsageError
        If a key binds nothing, or a size is negative.
    LoweringError
        If a dimension of an input stays open.
    """
    inputs = [value for value in inputs if value.name not in shapes]
    open_places = _open_places(inputs)
    symbols = {symbol for symbol in open_places.values() if symbol}
    for value in others:
        symbols.update(dim.dim_param for dim in value.type.tensor_type.shape.dim if dim.dim_param)
    bindings = Bindings()
    for key, size in dims.items():
        if not 0 <= size <= MAX_BYTES:
            raise UsageError(f"--dim {key}={size}: a size is a number from 0 to 2^53.")
        if key in symbols:
            bindings.symbols[key] = size
        else:
            _bind_place(key, size, inputs, open_places, symbols, bindings)
        bindings.applied.append((key, size))
    _bind_symbols_by_place(open_places, bindings)
    for symbol in open_places.values():
        if _BATCH.fullmatch(symbol) and symbol not in bindings.symbols:
            bindings.symbols[symbol] = 1
            bindings.applied.append((symbol, 1))
            bindings.defaults.append(symbol)
    bindings.open_symbols = symbols - bindings.symbols.keys()
    _refuse_open_places(open_places, bindings)
    _settle_places(open_places, bindings)
    return bindings


def parse_shapes(shapes: Mapping[str, str]) -> dict[str, TensorType]:
    """Read the values of `--shape`: ``2x3:float32``, ``:int64`` for a scalar.

    Raises
    ------
    UsageError
        If one is malformed or names an unknown element type.
    """
    parsed: dict[str, TensorType] = {}
    for name, text in shapes.items():
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise UsageError(f"--shape {name}={text}: expected a form like 2x3:float32.")
        element = element_number(match["dtype"])
        if element is None or match["dtype"] == "string":
            raise UsageError(
                f"--shape {name}={text}: unknown element type {match['dtype']}. "
                f"Known: {', '.join(element_names())}."
            )
        dims = tuple(int(dim) for dim in match["dims"].split("x")) if match["dims"] else ()
        parsed[name] = TensorType(dims, element)
    return parsed


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A trailing suggestion, or nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def open_dimensions(model: ModelProto) -> list[str]:
    """Dimensions of the inputs that have no number, as keys of ``--dim``: ``INPUT:AXIS``."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    return [f"{name}:{axis}" for name, axis in _open_places(inputs)]


def _open_places(inputs: Iterable[ValueInfoProto]) -> dict[tuple[str, int], str]:
    return {
        (value.name, axis): dim.dim_param
        for value in inputs
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if not (dim.HasField("dim_value") and dim.dim_value >= 0)
    }


def _bind_place(
    key: str,
    size: int,
    inputs: list[ValueInfoProto],
    open_places: Mapping[tuple[str, int], str],
    symbols: set[str],
    bindings: Bindings,
) -> None:
    name, _, axis_text = key.rpartition(":")
    value = next((value for value in inputs if value.name == name), None)
    if value is None or not axis_text.isdecimal():
        places = [f"{name}:{axis}" for (name, axis), symbol in open_places.items() if not symbol]
        known = sorted(symbols) + places
        has = f"It has: {', '.join(known[:12])}." if known else "All its dimensions are fixed."
        raise UsageError(
            f"--dim {key}={size}: the model has no dimension of that name. {has}"
            + did_you_mean(key, [*known, *(f"{name}:{axis}" for name, axis in open_places)])
        )
    axis, dims = int(axis_text), value.type.tensor_type.shape.dim
    if axis >= len(dims):
        raise UsageError(
            f'--dim {key}={size}: input "{name}" has {len(dims)} dimensions, counted from 0.'
        )
    if (name, axis) not in open_places and dims[axis].dim_value != size:
        raise UsageError(f"--dim {key}={size}: the file fixes it to {dims[axis].dim_value:,}.")
    if (name, axis) in open_places:
        bindings.places[name, axis] = size


def _bind_symbols_by_place(open_places: Mapping[tuple[str, int], str], bindings: Bindings) -> None:
    """A symbol whose places are all bound to one size has that size wherever else it occurs."""
    sizes: dict[str, set[int | None]] = {}
    for place, symbol in open_places.items():
        sizes.setdefault(symbol, set()).add(bindings.places.get(place))
    for symbol, bound in sizes.items():
        size = next(iter(bound))
        if symbol and len(bound) == 1 and size is not None:
            bindings.symbols.setdefault(symbol, size)


def _settle_places(open_places: Mapping[tuple[str, int], str], bindings: Bindings) -> None:
    """A symbol that means different sizes at different inputs says nothing about other values."""
    sizes: dict[str, set[int]] = {}
    for place, symbol in open_places.items():
        size = bindings.places.setdefault(place, bindings.symbols.get(symbol, 0))
        sizes.setdefault(symbol, set()).add(size)
    for symbol, bound in sizes.items():
        if len(bound) > 1:
            bindings.symbols.pop(symbol, None)


def _refuse_open_places(open_places: Mapping[tuple[str, int], str], bindings: Bindings) -> None:
    unbound: dict[str, list[str]] = {}
    for (name, axis), symbol in open_places.items():
        if (name, axis) not in bindings.places and symbol not in bindings.symbols:
            place = f"{name}:{axis}"
            unbound.setdefault(symbol or place, []).append(place)
    if not unbound:
        return
    shown = [
        f"{key} (--dim {key}=N)" if [key] == places else f"{key} at {places[0]} (--dim {key}=N)"
        for key, places in list(unbound.items())[:6]
    ]
    more = f" and {len(unbound) - 6:,} more" if len(unbound) > 6 else ""
    one = len(unbound) == 1
    raise LoweringError(
        f"{len(unbound):,} dimension{'' if one else 's'} of the inputs {'has' if one else 'have'} "
        f"no size: {', '.join(shown)}{more}. Bind each, by name or by INPUT:AXIS."
    )
