"""Buffers, with or without offsets, as the CSV of google/minimalloc."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.packing.problem import combined_alignment
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from planner.packing.problem import Buffer, Gap, Packing, PackingProblem


def write_minimalloc(
    problem: PackingProblem,
    path: str | os.PathLike[str],
    *,
    packing: Packing | None = None,
    inclusive: bool = False,
) -> str:
    """Write the CSV; the file appears whole or not at all.

    Returns
    -------
    str
        What the format cannot express and was left out; "" if nothing was.

    Raises
    ------
    BadFileError
        If the file cannot be written.
    """
    write_whole({Path(path): minimalloc_csv(problem, packing=packing, inclusive=inclusive)})
    return dropped(problem, packing=packing)


def minimalloc_csv(
    problem: PackingProblem, *, packing: Packing | None = None, inclusive: bool = False
) -> str:
    r"""Return the CSV: integers, lines that end in ``\n``, optional columns only where used.

    Parameters
    ----------
    problem : PackingProblem
        An alignment of its only memory becomes that of its buffers.
    packing : Packing or None
        Its offsets fill the column ``offset``; without it, fixed offsets do, -1 where there is
        none.
    inclusive : bool
        Write ``start`` and ``end``, the last time of a lifetime or gap, in place of ``lower`` and
        ``upper``, the time behind it.
    """
    buffers = problem.buffers
    shift = -1 if inclusive else 0
    columns: dict[str, Iterable[str | int]] = {
        "id": distinct_names(buffer.name for buffer in buffers),
        "start" if inclusive else "lower": [buffer.lower for buffer in buffers],
        "end" if inclusive else "upper": [buffer.upper + shift for buffer in buffers],
        "size": [buffer.size for buffer in buffers],
    }
    alignments = [_alignment(problem, buffer) for buffer in buffers]
    if any(alignment != 1 for alignment in alignments):
        columns["alignment"] = alignments
    if any(buffer.hint is not None for buffer in buffers):
        columns["hint"] = [_or_minus_one(buffer.hint) for buffer in buffers]
    if any(buffer.gaps for buffer in buffers):
        columns["gaps"] = [
            " ".join(_gap_text(gap, shift) for gap in buffer.gaps) for buffer in buffers
        ]
    if packing is not None:
        columns["offset"] = packing.offset.tolist()
    elif any(buffer.offset is not None for buffer in buffers):
        columns["offset"] = [_or_minus_one(buffer.offset) for buffer in buffers]
    rows = zip(*columns.values(), strict=True)
    return "".join(",".join(map(str, row)) + "\n" for row in [tuple(columns), *rows])


def dropped(problem: PackingProblem, *, packing: Packing | None = None) -> str:
    """Say what `minimalloc_csv` leaves out of a problem; "" if nothing."""
    memories = problem.memories
    counted = (
        ("colocation", problem.colocations),
        ("separation", problem.separations),
        ("overlap", problem.overlaps),
    )
    lost = [f"{len(memories):,} memories and which buffer lies where"] * (len(memories) > 1)
    if len(memories) > 1 and any(memory.alignment > 1 for memory in memories):
        lost.append("the alignments of memories")
    if any(memory.capacity is not None for memory in memories):
        lost.append("capacities")
    lost += [f"{len(found):,} {what}{'s' * (len(found) > 1)}" for what, found in counted if found]
    sentences = [f"The CSV has no place for {', '.join(lost)}: left out."] * bool(lost)
    fixed = sum(buffer.offset is not None for buffer in problem.buffers)
    if packing is None and 0 < fixed < len(problem.buffers):
        sentences.append("An offset of -1 stands for none, but google/minimalloc would fix it.")
    return " ".join(sentences)


def distinct_names(names: Iterable[str]) -> list[str]:
    """Return names that are one plain cell each, and still differ.

    Commas, quotes, line breaks and whatever else is not printable become ``_``; so do spaces at
    either end. A name that then is there already gets a number.
    """
    plain = [_plain(name) for name in names]
    taken = set(plain)
    copies: dict[str, int] = {}
    result = []
    for name in plain:
        unique = name
        copies[name] = copies.get(name, 0) + 1
        while copies[name] > 1 and (unique := f"{name}_{copies[name]}") in taken:
            copies[name] += 1
        taken.add(unique)
        result.append(unique)
    return result


def _plain(name: str) -> str:
    inner = name.strip()
    begin = len(name) - len(name.lstrip())
    padded = "_" * begin + inner + "_" * (len(name) - begin - len(inner))
    return "".join(c if c.isprintable() and c not in ',"' else "_" for c in padded)


def _alignment(problem: PackingProblem, buffer: Buffer) -> int:
    if len(problem.memories) == 1:
        return combined_alignment(buffer, problem.memories[0])
    return buffer.alignment


def _or_minus_one(offset: int | None) -> int:
    return -1 if offset is None else offset


def _gap_text(gap: Gap, shift: int) -> str:
    window = "" if gap.window is None else f"@{gap.window[0]}:{gap.window[1]}"
    return f"{gap.lower}-{gap.upper + shift}{window}"
