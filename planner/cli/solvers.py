"""List the solvers, what each is for, and whether it can run here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan solvers``."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from planner.registry import CONTENDERS, SOLVERS
    from solvers.pipeline.constructors.catalogue import CONSTRUCTORS
    from solvers.training.catalogue import CONTENDERS as TRAINING_CONTENDERS

    groups = {"contenders": CONTENDERS, **SOLVERS}
    rows = [
        {
            "group": group,
            "name": name,
            "purpose": entry.purpose,
            "by_default": entry.by_default,
            "available": availability.available,
            "reason": availability.reason,
        }
        for group, entries in groups.items()
        for name, entry in entries.items()
        for availability in (entry.load().available(),)
    ]
    rows += [
        {
            "group": "pipeline schedules",
            "name": constructor.name,
            "purpose": f"{constructor.source} ({', '.join(constructor.placements)})",
            "by_default": True,
            "available": True,
            "reason": "",
        }
        for constructor in CONSTRUCTORS
    ]
    rows += [
        {
            "group": "training steps",
            "name": contender.name,
            "purpose": contender.source,
            "by_default": True,
            "available": True,
            "reason": "",
        }
        for contender in TRAINING_CONTENDERS
    ]
    if options.json:
        print(json.dumps(rows, indent=2, sort_keys=True))
        return 0
    group = ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            print(f"{group}{' (plan --solver NAME)' if group == 'contenders' else ''}")
        state = "" if row["by_default"] else "  (only when named)"
        if not row["available"]:
            state = f"  (not available: {row['reason']})"
        print(f"  {row['name']:<18} {row['purpose']}{state}")
    return 0
