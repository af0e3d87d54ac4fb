"""Leave out the large weights of a model: its structure, shapes and their statistics stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.hydrate import add_files, open_model, write_model

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan strip``."""
    add_files(parser)


def run(options: argparse.Namespace) -> int:
    """Read the model and its data, write it without."""
    from frontends.onnx.weights import strip

    source, output = Path(options.model), Path(options.output)
    stripped = strip(open_model(source, output), folder=source.parent)
    print(f"left out  {stripped.tensors:,} weights ({stripped.bytes:,} bytes)")
    write_model(stripped.model, output)
    return 0
