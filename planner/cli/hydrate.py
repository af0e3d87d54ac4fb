"""Give every weight of a model values: what is absent is drawn from a seed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse

    from onnx import ModelProto


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan hydrate``."""
    add_files(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the weights that are drawn; default: 0"
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """Declare the model that is read and the one that is written."""
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.onnx")


def run(options: argparse.Namespace) -> int:
    """Read the model and its data, draw what is absent, write both into one file."""
    from frontends.onnx.weights import hydrate

    source, output = Path(options.model), Path(options.output)
    refilled = hydrate(open_model(source, output), folder=source.parent, seed=options.seed)
    print(
        f"drawn     {refilled.tensors:,} weights without data ({refilled.bytes:,} bytes) and "
        f"{refilled.constants:,} constant weights, from seed {options.seed}"
    )
    write_model(refilled.model, output)
    return 0


def open_model(source: Path, output: Path) -> ModelProto:
    """Read a model with the weights in its file, once it is sure that no input is overwritten.

    Raises
    ------
    UsageError
        If the output is a file that the model is made of, other than the model under its own name.
    BadFileError
        If the model cannot be read, or there is no directory to write to.
    """
    from frontends.onnx.external import data_path, model_tensors
    from frontends.onnx.load import load_whole_model

    if not output.parent.is_dir():
        raise BadFileError(f"{output}: cannot be written: {output.parent} is no directory.")
    model = load_whole_model(source)
    if os.path.abspath(output) == os.path.abspath(source):
        return model
    locations = {
        entry.value
        for _, tensor, _ in model_tensors(model)
        for entry in tensor.external_data
        if entry.key == "location" and isinstance(entry.value, str) and "\0" not in entry.value
    }
    for file in (source, *(source.parent / location for location in sorted(locations))):
        for written in (output, data_path(output)):
            if _is_same(file, written):
                raise UsageError(f"-o {output} would overwrite {file}, which the model needs.")
    return model


def _is_same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except OSError:  # one of them does not exist
        return False


def write_model(model: ModelProto, output: Path) -> None:
    """Write a model, whole or not at all, and say so."""
    from frontends.onnx.external import file_contents
    from planner.report.names import printable
    from planner.whole_files import write_whole

    contents = file_contents(model, output)
    write_whole(contents)
    print(f"wrote     {'  '.join(printable(str(path)) for path in contents)}")
