"""Run where `pip install .` has just installed: four packages, learned weights, no C++ source."""

from __future__ import annotations

from importlib.metadata import files

EXPECTED = {"planner", "frontends", "solvers", "rl"}
WEIGHTS = {"rl/trained/portfolio.npz"}


def main() -> int:
    names = [path.as_posix() for path in files("tensor-planner") or ()]
    inside = [name for name in names if ".dist-info/" not in name and not name.startswith("../")]
    top = {name.split("/")[0] for name in inside}
    sources = [name for name in inside if name.endswith((".cpp", ".hpp"))]
    core = [name for name in inside if name.startswith("solvers/_native.")]
    missing = sorted(WEIGHTS - set(inside))
    is_built = any(name.endswith((".so", ".pyd")) for name in core)
    if top != EXPECTED or sources or missing or not is_built:
        print(
            f"installed: top level {sorted(top)}, sources {sources}, core {core}, missing {missing}"
        )
        return 1
    print(f"installed: {len(inside)} files, top level {sorted(top)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
