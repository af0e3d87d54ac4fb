"""Leave out the large weights of a model: its structure, shapes and their statistics stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.hydrate import add_files, files, write

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan strip``."""
    add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Read the model and its data, write it without."""
    from frontends.onnx.external import check_output, file_contents
    from frontends.onnx.load import load_whole_model
    from frontends.onnx.weights import counted, strip

    source, output = files(options)
    model = load_whole_model(source)
    check_output(output, source, model)
    stripped = strip(model, folder=source.parent)
    write(file_contents(stripped.model, output))
    print(f"left out  {counted(stripped.tensors)} ({stripped.bytes:,} bytes)")
    return 0
