"""Run on a wheel: its top level is the four packages, and no C++ source travels along."""

from __future__ import annotations

import sys
import zipfile

EXPECTED = {"planner", "frontends", "solvers", "rl"}


def main(path: str) -> int:
    names = zipfile.ZipFile(path).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    sources = [name for name in names if name.endswith((".cpp", ".hpp"))]
    core = [name for name in names if name.startswith("solvers/_native.")]
    if top != EXPECTED or sources or not any(name.endswith((".so", ".pyd")) for name in core):
        print(f"wheel {path}: top level {sorted(top)}, sources {sources}, core {core}")
        return 1
    print(f"wheel {path}: {len(names)} files, top level {sorted(top)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
