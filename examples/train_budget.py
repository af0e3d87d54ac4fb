"""Train small models within a budget of bytes, beside eager PyTorch.

python examples/train_budget.py [--model gpt2|resnet|both] [--budgets 0.8 0.5 ...] [-o DIR]

Budgets are shares of the peak that the step has unplanned. For each of them a copy of the model is
compiled with the backend of planner.torch; all copies and the eager model then take the same steps
in turn. The table compares peaks, times, gradients, losses, and what the steps leave in parameters
and running statistics. With -o, DIR gets the numbers, and a picture of recomputation against peak:
ours, what PyTorch's own partitioner offers, and what is proven to be impossible.

The models are in train_budget_models.py, the picture is in train_budget_curves.py.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import planner.torch as planned
from planner.errors import BadFileError, DoesNotFitError, PlannerError

try:
    import torch
except ModuleNotFoundError:
    sys.exit("error: this needs PyTorch. Install it with: pip install 'tensor-planner[torch]'")

from train_budget_curves import Curves, Marks, draw, survey
from train_budget_models import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from planner.torch import PlannedStep

BUDGETS = (0.8, 0.65, 0.5, 0.4, 0.3)
BOUNDS = 20


@dataclass
class Runner:
    """A copy of the model that trains, and what is observed of it.

    ``share`` and ``target_bytes`` are its budget; the eager one has none. ``refusal`` says why the
    budget cannot be kept. Differences from the eager one are relative, the largest of all steps
    and tensors.
    """

    model: nn.Module
    share: float = math.nan
    target_bytes: int = 0
    plan: PlannedStep | None = None
    refusal: str = ""
    peak_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    gradient_difference: float = 0.0
    loss_difference: float = 0.0
    state_difference: float = 0.0

    def __post_init__(self) -> None:
        self.loss: Callable[..., Tensor] = self.model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)

    @property
    def step_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def exceeds(self) -> bool:
        return self.plan is not None and self.peak_bytes > self.target_bytes

    @property
    def differs(self) -> bool:
        return any((self.gradient_difference, self.loss_difference, self.state_difference))

    def compile(self, batch: tuple[Tensor, ...], time_limit: float) -> None:
        """Plan the step to the budget, or note why that cannot be."""
        backend = planned.backend(budget_bytes=self.target_bytes, time_limit=time_limit)
        self.loss = torch.compile(self.model, backend=backend, fullgraph=True, dynamic=False)
        state = copy.deepcopy(self.model.state_dict())
        try:
            self.loss(*batch)
        except DoesNotFitError as error:
            self.refusal = str(error).split(" At its peak")[0]
        else:
            self.plan = backend.plans[-1]
            self.model.load_state_dict(state)  # the call has moved the running statistics

    def backpropagate(self, batch: tuple[Tensor, ...]) -> None:
        loss = self.loss(*batch)
        loss.backward()
        self.losses.append(loss.item())


def train(runners: Sequence[Runner], batch: tuple[Tensor, ...], steps: int) -> None:
    """Let all take the same steps in turn, the eager one first.

    The first step is not timed, as memory and caches are cold. In the last the peak is measured.
    """
    eager, device = runners[0], batch[0].device
    for step in range(steps):
        for runner in runners:
            runner.optimizer.zero_grad(set_to_none=True)
            if step == steps - 1:
                runner.peak_bytes = planned.measure(
                    lambda runner=runner: runner.backpropagate(batch), device=device
                )
            else:
                started = time.perf_counter()
                runner.backpropagate(batch)  # the loss is read, so the device has done its work
                runner.seconds += [time.perf_counter() - started] if step else []
            for ours, its in zip(runner.model.parameters(), eager.model.parameters(), strict=True):
                found = difference(ours.grad, its.grad)
                runner.gradient_difference = max(runner.gradient_difference, found)
        for runner in runners:
            runner.optimizer.step()
    expected = eager.model.state_dict()
    for runner in runners:
        for name, tensor in runner.model.state_dict().items():
            found = difference(tensor, expected[name])
            runner.state_difference = max(runner.state_difference, found)
        runner.loss_difference = difference(torch.tensor(runner.losses), torch.tensor(eager.losses))


def difference(ours: Tensor | None, its: Tensor | None) -> float:
    """Return the largest difference of two tensors, relative to the second's largest element."""
    assert ours is not None and its is not None
    if torch.equal(ours, its):
        return 0.0
    distance = (ours.double() - its.double()).abs().max().item()
    return distance / max(its.double().abs().max().item(), sys.float_info.min)


def print_table(eager: Runner, rows: Sequence[Runner], curves: Curves | None) -> None:
    print(
        "budget       target    predicted     measured  recomputed  of step    at least  gap"
        "       torch   time  gradients  losses     state"
    )
    print(f" eager {'':>25} {eager.peak_bytes:>12,} {'':>50}   1.00")
    for row in rows:
        line = f"{row.share:>6.1%} {row.target_bytes:>12,}"
        if row.plan is None or curves is None:
            print(f"{line} {row.refusal}")
            continue
        theirs = curves.cheapest_of_torch(row.target_bytes)
        print(
            f"{line} {row.plan.predicted_peak_bytes:>12,} {row.peak_bytes:>12,}"
            f" {1e3 * row.plan.recompute_s:>8,.2f} ms"
            f" {1e5 * row.plan.recompute_s / curves.step_ms:>6.1f} %"
            f" {1e3 * row.plan.extra_bound_s:>8,.2f} ms {row.plan.result.gap:>4.0%}"
            f" {'none fits' if theirs is None else f'{theirs:,.2f} ms':>11}"
            f" {row.step_s / eager.step_s:>6.2f}  {equality(row.gradient_difference)}"
            f"  {equality(row.loss_difference)}  {equality(row.state_difference)}"
            f"{'  OVER THE TARGET' if row.exceeds else ''}"
        )
    print(
        f"A step of the eager model took {1e3 * eager.step_s:,.1f} ms; "
        f"its losses: {', '.join(f'{loss:.3f}' for loss in eager.losses)}",
        flush=True,
    )


def equality(found: float) -> str:
    return f"{found:<9.1e}" if found else "bit-equal"


def numbers(eager: Runner, rows: Sequence[Runner], curves: Curves | None) -> dict[str, Any]:
    """Return table and curves for a file."""

    def observed(row: Runner) -> dict[str, Any]:
        return {
            "measured_peak_bytes": row.peak_bytes,
            "measured_step_s": row.step_s,
            "losses": row.losses,
            "gradient_difference": row.gradient_difference,
            "state_difference": row.state_difference,
        }

    table = []
    for row in rows:
        numbers: dict[str, Any] = {"share": row.share, "target_bytes": row.target_bytes}
        if row.plan is None:
            numbers["refusal"] = row.refusal
        else:
            numbers |= {
                "predicted_peak_bytes": row.plan.predicted_peak_bytes,
                "recompute_s": row.plan.recompute_s,
                "recompute_bound_s": row.plan.extra_bound_s,
            } | observed(row)
        table.append(numbers)
    return {
        "eager": observed(eager),
        "rows": table,
        "curves": None if curves is None else curves._asdict(),
    }


def marks(eager: Runner, rows: Sequence[Runner]) -> Marks:
    trained = [(row.peak_bytes, 1e3 * row.plan.recompute_s) for row in rows if row.plan]
    targets = [
        (row.target_bytes, f"{row.share:.0%}" + (" refused" if row.refusal else "")) for row in rows
    ]
    return Marks(eager.peak_bytes, trained, targets)


def compare(name: str, options: argparse.Namespace) -> bool:
    """Train a model at all budgets, print the table, write files; return whether all is well."""
    torch.manual_seed(0)
    title, model, batch = TASKS[name]() if options.layers is None else TASKS[name](options.layers)
    model, batch = model.to(options.device), tuple(x.to(options.device) for x in batch)
    unplanned = planned.estimate(model, batch)
    print(
        f"{title}, on {options.device}\nUnplanned, {unplanned.peak_bytes:,} bytes are live at the "
        f"peak, above {unplanned.static_bytes:,} of parameters, buffers and inputs.",
        flush=True,
    )
    eager = Runner(copy.deepcopy(model))
    rows = [
        Runner(copy.deepcopy(model), share, int(share * unplanned.peak_bytes))
        for share in options.budgets
    ]
    for row in rows:
        row.compile(batch, options.time_limit)
    trained = [row for row in rows if row.plan is not None]
    plans = [row.plan for row in rows if row.plan is not None]
    grid = 0 if options.output is None else BOUNDS
    curves = survey(plans, options.time_limit, grid) if plans else None
    train([eager, *trained], batch, options.steps)
    print_table(eager, rows, curves)
    if options.output is not None:
        write(name, title, eager, rows, curves, options.output)
    # On CUDA some operators add in another order each time, and the allocator rounds blocks up.
    is_exact = options.device == "cpu"
    return not (is_exact and any(row.exceeds or row.differs for row in trained))


def write(
    name: str,
    title: str,
    eager: Runner,
    rows: Sequence[Runner],
    curves: Curves | None,
    folder: Path,
) -> None:
    """Write the numbers and, where it can be drawn, the picture."""
    from planner.json_text import dump_json
    from planner.whole_files import write_whole

    stem = f"train_budget_{name}"
    contents: dict[Path, str | bytes] = {
        folder / f"{stem}.json": dump_json(numbers(eager, rows, curves))
    }
    if curves is None:
        print("No picture is drawn: none of the budgets can be kept.")
    try:
        if curves is not None:
            for suffix, picture in draw(title, curves, marks(eager, rows)).items():
                contents[folder / f"{stem}.{suffix}"] = picture
    except ImportError:
        print(
            "No picture is drawn: matplotlib is not installed. Install it with: "
            "pip install 'tensor-planner[plots]'"
        )
    write_whole(contents)
    print(f"Wrote {', '.join(map(str, contents))}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=(*TASKS, "both"), default="both")
    parser.add_argument(
        "--budgets",
        metavar="SHARE",
        type=between(0.01, 1.0),
        nargs="+",
        default=BUDGETS,
        help="of the unplanned peak",
    )
    parser.add_argument("--layers", metavar="L", type=whole(1, 100), help="depth of the models")
    parser.add_argument(
        "--steps", metavar="N", type=whole(3, 100_000), default=8, help="default: 8"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--time-limit", metavar="S", type=between(0.1, 86_400.0), default=30.0)
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="for numbers and pictures")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here")
    # The plans' times are those of one core, and so the comparison with them is.
    torch.set_num_threads(1)
    # Each budget compiles the same code once more.
    torch._dynamo.config.recompile_limit = 8 + len(options.budgets)
    try:
        if options.output is not None:
            make_folder(options.output)
        names = TASKS if options.model == "both" else [options.model]
        good = [compare(name, options) for name in names]
    except PlannerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print("All well." if all(good) else "A peak is over its target, or a result differs.")
    return 0 if all(good) else 1


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFileError(f"{folder}: cannot be made: {error.strerror or error}.") from None


def between(lowest: float, highest: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not between {lowest:g} and {highest:g}")
        return value

    return number


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not between {lowest} and {highest:,}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
