"""Give every weight of a model values: what is absent is drawn from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan hydrate``."""
    add_files(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the weights that are drawn; default: 0"
    )


def run(options: argparse.Namespace) -> int:
    """Read the model and its data, draw what is absent, write all of it."""
    from frontends.onnx.external import check_output, file_contents
    from frontends.onnx.load import load_whole_model
    from frontends.onnx.weights import counted, hydrate

    source, output = files(options)
    model = load_whole_model(source)
    check_output(output, source, model)
    refilled = hydrate(model, folder=source.parent, seed=options.seed)
    write(file_contents(refilled.model, output))
    print(
        f"drawn     {counted(refilled.tensors)} without data ({refilled.bytes:,} bytes) and "
        f"{counted(refilled.constants, 'constant ')}, from seed {options.seed}"
    )
    return 0


def add_files(parser: argparse.ArgumentParser) -> None:
    """Declare the model that is read and the one that is written."""
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.onnx")


def files(options: argparse.Namespace) -> tuple[Path, Path]:
    """Return what `add_files` declared, once there is a directory to write to.

    Raises
    ------
    UsageError
        If no file is named.
    BadFileError
        If there is none.
    """
    output = Path(options.output)
    if not output.name:
        raise UsageError(f"-o {options.output!r}: give the name of the file to write.")
    if not output.parent.is_dir():
        raise BadFileError(f"{output}: cannot be written: {output.parent} is no directory.")
    return Path(options.model), output


def write(contents: Mapping[Path, bytes]) -> None:
    """Write all files or none, and say so."""
    from planner.report.names import printable
    from planner.whole_files import write_whole

    write_whole(contents)
    print(f"wrote     {'  '.join(printable(str(path)) for path in contents)}")
