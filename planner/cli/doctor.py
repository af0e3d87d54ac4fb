"""Examine this installation: versions, the compiled core, known clashes between packages."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse

_REQUIRED = ("numpy", "onnx", "ortools", "pulp", "networkx")
_OPTIONAL = {
    "onnxruntime": 'pip install "tensor-planner[run]"',
    "torch": 'pip install "tensor-planner[torch]"',
}
_PACKAGES = ("planner", "frontends", "solvers", "rl")
_PROBE_S = 60.0


class Finding(NamedTuple):
    """One line of the examination: ``ok``, ``note`` or ``bad``."""

    verdict: str
    subject: str
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan doctor``."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings; exit 1 if one is bad."""
    findings = examine()
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.verdict:<5} {finding.subject:<22} {finding.detail}")
    return 1 if any(finding.verdict == "bad" for finding in findings) else 0


def examine() -> list[Finding]:
    """Look at the interpreter, the packages, the compiled core and known clashes."""
    findings = [Finding("ok", "python", sys.version.split()[0])]
    findings += [_required(name) for name in _REQUIRED]
    findings += [_optional(name, command) for name, command in _OPTIONAL.items()]
    findings.append(_compiled_core())
    findings += _own_packages()
    findings.append(_highs_clash())
    return findings


def _required(name: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding("bad", name, f"missing. Install it with: pip install {name}")
    code, output = _probe(f"import {name}")
    if code != 0:
        return Finding("bad", name, f"{version}, but it cannot be imported: {output}")
    return Finding("ok", name, version)


def _optional(name: str, command: str) -> Finding:
    try:
        return Finding("ok", name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding("note", name, f"not installed (optional). {command}")


def _compiled_core() -> Finding:
    code, output = _probe("import solvers._native as core; print(core.__file__)")
    if code != 0:
        return Finding("bad", "solvers._native", f"{output}. Reinstall with: pip install .")
    return Finding("ok", "solvers._native", output)


def _own_packages() -> list[Finding]:
    """Another distribution may install packages of the same generic names."""
    homes = {}
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return [Finding("bad", name, "the package is missing. Reinstall with: pip install .")]
        homes[name] = Path(spec.origin).resolve().parent.parent
    return [
        Finding("bad", name, f"comes from {home}, not from {homes['planner']}: another package")
        for name, home in homes.items()
        if home != homes["planner"]
    ] or [Finding("ok", "packages", f"{', '.join(_PACKAGES)} from {homes['planner']}")]


def _highs_clash() -> Finding:
    """Versions of highspy and ortools exist that cannot share a process."""
    if importlib.util.find_spec("highspy") is None:
        return Finding("ok", "ortools and highspy", "highspy is not installed, no clash")
    code, output = _probe("import highspy, ortools.math_opt.python.mathopt")
    if code == 0:
        return Finding("ok", "ortools and highspy", "load together")
    return Finding(
        "note",
        "ortools and highspy",
        f"cannot be loaded into one process ({output}). Do not import highspy where you plan.",
    )


def _probe(code: str) -> tuple[int, str]:
    """Run a statement in a fresh interpreter; return its exit code and last line of output."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {_PROBE_S:g} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode, lines[-1] if lines else ""
