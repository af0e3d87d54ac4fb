"""What a runtime has to know about operators beyond a graph: operands by position, attributes."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.graph import Graph


class Attribute(NamedTuple):
    """An attribute of a node; a single value is a list of one.

    Attributes
    ----------
    name : str
    values : tuple of int, of float or of str
        All of one type.
    """

    name: str
    values: tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


class OperatorCall(NamedTuple):
    """Operands of one operator as its node has them; tensor indices, -1 where one is omitted.

    Attributes
    ----------
    inputs : tuple of int
        By position, an operand used twice is in it twice. What bodies capture comes last.
    outputs : tuple of int
        By position.
    workspace : int
        -1 for none.
    attributes : tuple of Attribute
    version : int
        Of the operator set that the node was written for; 0 where unknown.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    workspace: int = -1
    attributes: tuple[Attribute, ...] = ()
    version: int = 0


class ModelCalls(NamedTuple):
    """A graph together with the calls of its operators.

    Attributes
    ----------
    graph : Graph
    operators : tuple of OperatorCall
        One per operator of the graph.
    inputs, outputs : tuple of int
        Tensors that the caller gives and takes, in the model's order.
    computed : tuple of int
        Constants that are not stored in the model but computed from stored ones, unless known.
    known : mapping of int to tuple of numbers
        Elements of small constants that are not stored in the model, by tensor.
    left_out : tuple of str
        Attributes that are neither numbers nor text, such as ``If.then_branch``; distinct.
    """

    graph: Graph
    operators: tuple[OperatorCall, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    computed: tuple[int, ...] = ()
    known: Mapping[int, tuple[int, ...] | tuple[float, ...]] = MappingProxyType({})
    left_out: tuple[str, ...] = ()
