"""The ``plan`` command: its parser, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from planner.cli.streams import open_streams
from planner.errors import PlannerError
from planner.interruption import listening_for_ctrl_c
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_MESSAGE_WIDTH = 2000
_VERBS_THAT_RACE = frozenset({"solve", "pack", "pipeline", "bench"})

VERBS = {
    "solve": "plan a model: order, offsets, spills, and a proof (the default verb)",
    "check": "is a plan legal for a model? exit 4 and the violations if not",
    "run": "execute a plan: every tensor compared with ONNX Runtime, bit for bit",
    "pack": "give buffers with known lifetimes their offsets",
    "pipeline": "passes of pipeline-parallel training: the least bubble that fits the memory",
    "explain": "why the peak is what it is; what a step or a tensor needs",
    "export": "write a plan as C source, MiniMalloc's CSV or a trace",
    "bench": "compare solvers with each other, on your instances or on generated ones",
    "calibrate": "measure this processor's operators and write them as a target",
    "train-agent": "learn the weights that the mallocGame's agent starts from, from a seed",
    "hydrate": "fill in the weights that a model lacks, from a seed",
    "strip": "leave the large weights out of a model",
    "targets": "list the described machines, or show one",
    "solvers": "list the solvers and whether they can run here",
    "doctor": "examine this installation",
}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors look like all other errors of the program."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\nTry: {self.prog} --help", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = _Parser(
        prog="plan",
        description="Memory planning for deep networks. "
        "'plan MODEL.onnx' is short for 'plan solve MODEL.onnx'.",
        epilog="exit codes: 0 done, 2 usage, 3 does not fit, 4 invalid plan or mismatch, 5 model "
        "cannot be lowered, 6 bad file, 130 interrupted",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"plan {VERSION}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, purpose in VERBS.items():
        module = import_module(f"planner.cli.{verb.replace('-', '_')}")
        child = verbs.add_parser(verb, help=purpose, description=module.__doc__, allow_abbrev=False)
        module.add_arguments(child)
        child.set_defaults(run=module.run)
    return parser


def with_default_verb(arguments: Sequence[str]) -> list[str]:
    """Insert ``solve`` where the first argument is neither a verb nor a global option."""
    if arguments and arguments[0] not in {*VERBS, "-h", "--help", "--version"}:
        return ["solve", *arguments]
    return list(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str or None
        Default: those of the process. Then the process may also end in here.
    """
    is_process = arguments is None
    try:
        with listening_for_ctrl_c():
            if is_process:
                sys.unraisablehook = _report_unraisable
            open_streams()
            code = _run(sys.argv[1:] if arguments is None else arguments)
            if is_process:
                _ignore_ctrl_c()
    except KeyboardInterrupt as error:
        if is_process:
            _ignore_ctrl_c()
        _complain(str(error) or "interrupted before a plan was found")
        code = EXIT_INTERRUPTED
    # A contender that outlived its deadline is inside a kernel. The interpreter's own way out would
    # pull the ground from under it. And where KeyboardInterrupt has passed through an exec, that of
    # a dataclass say, that way ends in a signal, not in an exit code.
    is_alone = not any(thread.daemon for thread in threading.enumerate())
    if is_process and (code == EXIT_INTERRUPTED or not is_alone):
        sys.stderr.flush()
        os._exit(code)
    return code


def _ignore_ctrl_c() -> None:
    """All is said: leaving takes no time, and nobody is left to handle an exception."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of Ctrl-C in a destructor: a race hears of it all the same."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)


def _run(arguments: Sequence[str]) -> int:
    given = list(arguments)
    parser = build_parser()
    if not given:
        parser.print_help()
        return EXIT_USAGE
    try:
        options = parser.parse_args(with_default_verb(given))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except PlannerError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if options.verb in _VERBS_THAT_RACE or str(interrupt):
            raise
        raise KeyboardInterrupt("interrupted") from None
    except BrokenPipeError:
        # The reader went away (plan ... | head). Python would complain at exit on the dead pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RecursionError:
        if os.environ.get("PLANNER_DEBUG"):
            raise
        _complain("the input is nested too deeply to be read")
        return 6
    except MemoryError:
        _complain("out of memory")
        return 1
    except OSError as error:
        _complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return 6
    except Exception as error:
        if os.environ.get("PLANNER_DEBUG"):
            raise
        _complain(f"internal error: {type(error).__name__}: {error}")
        print(
            "This is a bug. Run again with PLANNER_DEBUG=1 for the traceback and report it.",
            file=sys.stderr,
        )
        return 1


def _complain(message: str) -> None:
    """Print one line: names in it come from models and may hold anything."""
    from planner.report.names import printable

    print(f"plan: {printable(message, _MESSAGE_WIDTH)}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
