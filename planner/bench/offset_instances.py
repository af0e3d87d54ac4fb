"""Packing problems to compare solvers on: from files, or generated from fixed seeds."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import BadFileError
from planner.packing.problem import Buffer, Gap, PackingProblem

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

_CAPACITY_IN_NAME = re.compile(r"\.([0-9]{1,18})$", re.ASCII)


class Instance(NamedTuple):
    """A problem with one memory without capacity.

    Attributes
    ----------
    name : str
    problem : PackingProblem
    capacity : int or None
        Bytes it should fit, where somebody has named them.
    """

    name: str
    problem: PackingProblem
    capacity: int | None = None


def instances_in(
    directory: str | os.PathLike[str], on_unreadable: Callable[[str], None]
) -> Iterator[Instance]:
    """Read the CSV files of a directory and of those below it, by name.

    ``A.1048576.csv`` names a capacity. What cannot be read is told and left out.

    Raises
    ------
    BadFileError
        If there is no such directory, or no file in it can be read.
    """
    directory = Path(directory)
    if not directory.is_dir():
        kind = "is not a directory" if directory.exists() else "does not exist"
        raise BadFileError(f"{directory} {kind}. Give a directory of CSV files of buffers.")
    paths = sorted(directory.rglob("*.csv"))
    if not paths:
        raise BadFileError(f"{directory}: no CSV file. There is nothing to compare solvers on.")
    return _read(directory, paths, on_unreadable)


def _read(
    directory: Path, paths: Sequence[Path], on_unreadable: Callable[[str], None]
) -> Iterator[Instance]:
    from frontends.buffers import load_buffers

    reasons: list[str] = []
    for path in paths:
        try:
            problem = load_buffers(path)
        except BadFileError as error:
            reasons.append(str(error))
            on_unreadable(str(error))
            continue
        stem = path.relative_to(directory).with_suffix("").as_posix()
        named = _CAPACITY_IN_NAME.search(stem)
        yield Instance(stem, problem, None if named is None else int(named.group(1)))
    if len(reasons) == len(paths):
        count = (
            "its only CSV file cannot"
            if len(paths) == 1
            else f"none of its {len(paths):,} CSV files can"
        )
        raise BadFileError(f"{directory}: {count} be read. {reasons[0]}")


def generated_instances() -> Iterator[Instance]:
    """Make the built-in set, always the same."""
    # Of the first few, those that greedy orders do not solve.
    for buffers, copies in ((80, (1, 4, 6)), (160, (1, 2, 3))):
        for copy in copies:
            name = f"tiling_{buffers}_{copy}"
            yield Instance(name, tiling(name, buffers), _TILING_BYTES)
    yield Instance("thinned_160", tiling("thinned_160", 160, kept=0.95), _TILING_BYTES)
    for buffers in (60, 400):
        yield Instance(f"uniform_{buffers}", uniform(f"uniform_{buffers}", buffers))
    for layers in (50, 300):
        yield Instance(f"inference_{layers}", inference(f"inference_{layers}", layers))
    yield Instance("training_24", training("training_24", 24))
    yield Instance("aligned_100", aligned("aligned_100", 100))
    yield Instance("gaps_100", with_gaps("gaps_100", 100))
    yield Instance("pins_100", with_pins("pins_100", 100))
    yield Instance("mixed_20000", mixed("mixed_20000", 20_000))
    yield Instance("mixed_60000", mixed("mixed_60000", 60_000))


_TILING_STEPS, _TILING_BYTES = 60, 256


def tiling(seed: str, buffers: int, *, kept: float = 1.0) -> PackingProblem:
    """Cut time x bytes into rectangles, edge to edge: the optimum is the whole height.

    Parameters
    ----------
    kept : float
        Share of the rectangles that stay; then the optimum may be lower.
    """
    source = random.Random(seed)
    pieces = [(0, _TILING_STEPS, 0, _TILING_BYTES)]
    while len(pieces) < buffers:
        areas = [(upper - lower) * (end - begin) for lower, upper, begin, end in pieces]
        index = source.choices(range(len(pieces)), areas)[0]
        lower, upper, begin, end = pieces[index]
        in_time = source.random() < 0.5
        if (upper - lower if in_time else end - begin) < 2:
            continue
        if in_time:
            cut = source.randrange(lower + 1, upper)
            halves = [(lower, cut, begin, end), (cut, upper, begin, end)]
        else:
            cut = source.randrange(begin + 1, end)
            halves = [(lower, upper, begin, cut), (lower, upper, cut, end)]
        pieces[index : index + 1] = halves
    source.shuffle(pieces)
    pieces = pieces[: round(kept * len(pieces))]
    return _problem((lower, upper, end - begin) for lower, upper, begin, end in pieces)


def uniform(seed: str, buffers: int) -> PackingProblem:
    """Make lifetimes and sizes without any structure."""
    source = random.Random(seed)
    lowers = [source.randrange(buffers) for _ in range(buffers)]
    return _problem(
        (lower, lower + source.randint(1, 30), source.randint(1, 10_000)) for lower in lowers
    )


def inference(seed: str, layers: int) -> PackingProblem:
    """Make the activations of a chain of layers with skip connections and workspaces."""
    source = random.Random(seed)
    rows = []
    channels, pixels = 16, 112 * 112
    for layer in range(layers):
        if layer % max(1, layers // 5) == layers // 10:
            channels, pixels = channels * 2, pixels // 4
        last_use = layer + 2
        if source.random() < 0.3:
            last_use += source.randint(1, 6)
        rows.append((layer, min(last_use, layers + 1), channels * pixels))
        if source.random() < 0.5:
            rows.append((layer, layer + 1, source.randint(1, 64) * 1024))
    return _problem(rows)


def training(seed: str, layers: int) -> PackingProblem:
    """Make equal layers: activations kept until their backward pass, gradients, transient bytes.

    A layer takes eight steps forward and eight backward.
    """
    source = random.Random(seed)
    unit = 4096
    kept = [source.randint(1, 64) * unit for _ in range(3)]
    transient = [
        (begin, source.randint(begin + 1, 8), source.randint(1, 64) * unit)
        for begin in sorted(source.choices(range(8), k=12))
    ]
    end = 16 * layers
    rows = []
    for layer in range(layers):
        forward, backward = 8 * layer, end - 8 * layer - 8
        rows += [(forward + index, backward + index + 1, size) for index, size in enumerate(kept)]
        rows.append((backward, min(backward + 9, end), kept[0]))
        for start in (forward, backward):
            rows += [(start + lower, start + upper, size) for lower, upper, size in transient]
    return _problem(rows)


def aligned(seed: str, buffers: int) -> PackingProblem:
    """Make buffers that want different alignments, with sizes that are no multiples of them."""
    source = random.Random(seed)
    plain = uniform(f"{seed} buffers", buffers).buffers
    return PackingProblem(
        tuple(b._replace(alignment=source.choice((1, 4, 16, 64, 256))) for b in plain)
    )


def with_gaps(seed: str, buffers: int) -> PackingProblem:
    """Make long lifetimes with gaps, in some of which a window stays in use."""
    source = random.Random(seed)
    made = []
    for index in range(buffers):
        lower, span = source.randrange(buffers), source.randint(9, 60)
        size = source.randint(1, 1000)
        begin = source.randint(lower + 1, lower + span // 3)
        end = source.randint(begin + 1, lower + span - 1)
        window = (0, source.randint(1, size)) if source.random() < 0.4 else None
        gaps = (Gap(begin, end, window),) if source.random() < 0.6 else ()
        made.append(Buffer(str(index), lower, lower + span, size, gaps=gaps))
    return PackingProblem(tuple(made))


def with_pins(seed: str, buffers: int) -> PackingProblem:
    """Fix every tenth buffer, one above the other so that they never clash."""
    plain = list(uniform(seed, buffers).buffers)
    top = 0
    for index in range(0, buffers, 10):
        plain[index] = plain[index]._replace(offset=top)
        top += plain[index].size
    return PackingProblem(tuple(plain))


def mixed(seed: str, buffers: int) -> PackingProblem:
    """Make many short lifetimes and a few long ones, with sizes over three orders of magnitude."""
    source = random.Random(seed)
    rows = []
    for _ in range(buffers):
        lower = source.randrange(buffers)
        span = source.randrange(1, buffers // 10 if source.random() < 0.02 else 60)
        rows.append((lower, lower + span, int(2 ** (6 + 10 * source.random()))))
    return _problem(rows)


def _problem(rows: Iterable[tuple[int, int, int]]) -> PackingProblem:
    return PackingProblem(tuple(Buffer(str(index), *row) for index, row in enumerate(rows)))
