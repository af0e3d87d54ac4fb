from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_spill_curve_rises_as_the_memory_shrinks() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "spill_curve.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = [line.replace(",", "").split() for line in done.stdout.splitlines()[1:]]
    traffic = [int(row[1]) for row in rows if row[1].isdigit()]
    assert len(traffic) >= 3 and traffic[0] == 0
    assert traffic == sorted(traffic) and traffic[-1] > 0
