"""List the described machines, or show one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan targets``."""
    parser.add_argument("target", nargs="?", metavar="NAME|FILE.toml", help="show this one")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the table, or one target."""
    from planner.report.quantities import format_both
    from planner.target_file import read_target, target_names

    if options.target:
        targets = [read_target(options.target)]
    else:
        targets = [read_target(name) for name, _ in target_names()]
    if options.json:
        shown = [asdict(target) for target in targets]
        print(json.dumps(shown[0] if options.target else shown, indent=2, sort_keys=True))
        return 0
    for target in targets:
        print(f"{target.name:<10} {target.description}")
        for memory in target.memories:
            size = (
                "unlimited" if memory.capacity_bytes is None else format_both(memory.capacity_bytes)
            )
            roles = [
                role
                for role, holds in (
                    ("constants", memory.name == target.constant_memory),
                    ("inputs and outputs", memory.name == target.io_memory),
                    ("read only", not memory.writable),
                )
                if holds
            ]
            print(f"  {memory.name:<9} {size:<28} {', '.join(roles)}".rstrip())
    return 0
