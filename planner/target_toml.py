"""Writes a target as the TOML file that `planner.target_file` reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from planner.target import Compute, Target

Value = str | bool | int | float


def target_to_toml(target: Target) -> str:
    """Return the text of a target file; reading it gives an equal target."""
    lines = _pairs(
        {
            "name": target.name,
            "description": target.description,
            "operands_resident": target.operands_resident,
            "io_memory": target.io_memory,
            "constant_memory": target.constant_memory,
        }
    )
    for memory in target.memories:
        described: dict[str, Value | None] = {
            "name": memory.name,
            "capacity": memory.capacity_bytes,
            "alignment": memory.alignment_bytes,
            "read_bandwidth": memory.read_bandwidth,
            "write_bandwidth": memory.write_bandwidth,
            "latency_s": memory.latency_s,
            "writable": memory.writable,
        }
        lines += ["", "[[memory]]", *_pairs(described)]
    for link in target.links:
        ends = {"from": link.source, "to": link.destination}
        rates = {
            "bandwidth": link.bandwidth,
            "setup_s": link.setup_s,
            "channels": link.channels,
            "fifo": link.fifo,
        }
        lines += ["", "[[link]]", *_pairs({**ends, **rates})]
    if target.compute is not None:
        lines += _compute(target.compute)
    return "\n".join(lines) + "\n"


def _compute(compute: Compute) -> Iterator[str]:
    yield from ("", "[compute]")
    yield from _pairs(
        {
            "vector_rate": compute.vector_rate,
            "launch_overhead_s": compute.launch_overhead_s,
        }
    )
    yield from ("", "[compute.mac_rate]", *_pairs(compute.mac_rate))
    measured = compute.measured
    if measured is None:
        return
    yield from ("", "[compute.measured]", *_pairs({"source": measured.source}))
    for kind, fit in measured.fits.items():
        yield from ("", f"[compute.measured.fits.{_text(kind)}]", *_pairs(asdict(fit)))
    yield from ("", "[compute.measured.seconds]", *_pairs(measured.seconds))


def _pairs(values: Mapping[str, Value | None]) -> list[str]:
    return list(_assignments((key, value) for key, value in values.items() if value is not None))


def _assignments(pairs: Iterable[tuple[str, Value]]) -> Iterator[str]:
    for key, value in pairs:
        name = key if key.isascii() and key.isidentifier() else _text(key)
        if isinstance(value, bool):
            yield f"{name} = {str(value).lower()}"
        else:
            yield f"{name} = {_text(value) if isinstance(value, str) else repr(value)}"


def _text(value: str) -> str:
    # JSON's escapes are TOML's as well; TOML wants one more character escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
