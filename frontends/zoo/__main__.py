"""Write a network of the zoo to a file: ``python -m frontends.zoo resnet50 -o resnet50.onnx``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from frontends import zoo
from frontends.zoo.builder import ELEMENT_TYPES
from planner.errors import BadFileError, PlannerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; list the networks when none is named. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m frontends.zoo",
        description="Write a well-known network as an ONNX model without weights.",
    )
    parser.add_argument("name", nargs="?", help="network; without it, list all with their options")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE")
    parser.add_argument("--batch", type=int, default=1, metavar="N")
    parser.add_argument("--dtype", default="float32", help=", ".join(ELEMENT_TYPES))
    parser.add_argument(
        "--option", action="append", default=[], metavar="K=V", help="of the network; repeatable"
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.name is None:
            _list_networks()
        else:
            _write(chosen)
    except PlannerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _list_networks() -> None:
    width = max(map(len, zoo.names()))
    for name in zoo.names():
        defaults = " ".join(f"{key}={value}" for key, value in zoo.options(name).items())
        print(f"{name:{width}}  {defaults}")


def _write(chosen: argparse.Namespace) -> None:
    options = _parsed_options(chosen.name, chosen.option)
    if chosen.output is None:
        raise UsageError(f"where to write {chosen.name}? Add -o {chosen.name}.onnx.")
    model = zoo.build(chosen.name, batch=chosen.batch, dtype=chosen.dtype, **options)
    data = model.SerializeToString(deterministic=True)
    try:
        chosen.output.write_bytes(data)
    except OSError as error:
        raise BadFileError(f"cannot write {chosen.output}: {error.strerror}.") from error
    print(
        f"{chosen.output}: {len(model.graph.node):,} nodes, "
        f"{zoo.parameters(model):,} parameters, {len(data):,} bytes"
    )


def _parsed_options(name: str, texts: Sequence[str]) -> dict[str, int | bool]:
    defaults = zoo.options(name)
    parsed: dict[str, int | bool] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"--option {text}: write it as name=value.")
        if key in ("batch", "dtype"):
            raise UsageError(f"--option {text}: write it as --{key} {value}.")
        kind = type(defaults.get(key, 1))
        if kind is bool and value.lower() not in _TRUTH:
            raise UsageError(f"--option {text}: {value!r} is neither true nor false.")
        try:
            parsed[key] = _TRUTH[value.lower()] if kind is bool else int(value)
        except ValueError:
            raise UsageError(f"--option {text}: {value!r} is not a whole number.") from None
    return parsed


if __name__ == "__main__":
    sys.exit(main())
