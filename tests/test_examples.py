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


def test_the_bilevel_example_prices_two_levels_against_flat_packing(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "memo_bilevel.py"), "4", str(log)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = [line.replace(",", "").split() for line in done.stdout.splitlines()[1:4]]
    heights = {row[0]: int(row[1]) for row in rows}
    assert heights["exact"] <= heights["bilevel"]
    # 4 layers forward, 8 chunks of the loss, 4 layers backward.
    assert "16 layers of 3 kinds" in done.stdout.splitlines()[-1]
    assert log.read_text().startswith("# 4 layers")
