"""The project's solvers as methods of the latency suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.latency_methods import Bound, Mapped

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem, MappingSolution
    from planner.problem import Outcome

_ALL_DAY_S = 86_400.0
# Where time is what ends the search.
_MANY_DECODES = 100_000
# Each keeps a state of the game in memory: megabytes all together, of a thousand rows.
_MOST_SIMULATIONS = 500


def all_slow(
    problem: MappingProblem, *, decodes: int | None, seconds: float | None, seed: int
) -> Mapped:
    """Map nothing."""
    del decodes, seconds, seed
    return Mapped((), problem.all_slow, 0)


def static(
    problem: MappingProblem,
    *,
    decodes: int | None,
    seconds: float | None,
    seed: int,
    which: str,
) -> Mapped:
    """Return the best of some static decodes: ``xla``, ``best-of-4``, ``8`` or ``24``."""
    from solvers.mapping.decoders import STATIC_DECODES, XLA_STYLE, StaticDecodes
    from solvers.protocol import Deadline

    del decodes, seed
    window = [decode for decode in STATIC_DECODES if decode.window == XLA_STYLE.window]
    chosen = {
        "xla": [XLA_STYLE],
        "best-of-4": [decode for decode in window if decode.decoder is XLA_STYLE.decoder],
        "8": window,
        "24": list(STATIC_DECODES),
    }[which]
    outcome = StaticDecodes(chosen).solve(problem, deadline=Deadline(seconds or _ALL_DAY_S))
    return _mapped(problem, outcome, len(chosen))


def key_search(
    problem: MappingProblem, *, decodes: int | None, seconds: float | None, seed: int
) -> Mapped:
    """Evolve one key per buffer, (1+1), from the best of the static keys in the best window.

    The decoder of whole buffers is tried with four keys in three windows, which counts.
    """
    from solvers._native import MAPPING_STATIC_KEYS, mapping_evolve_keys
    from solvers.mapping.decoders import WINDOWS, Decoder, StaticDecode, decode_static
    from solvers.mapping.native import Decoded, native_model
    from solvers.protocol import Deadline

    deadline = Deadline(seconds or _ALL_DAY_S)
    most = _MANY_DECODES if decodes is None else decodes
    model = native_model(problem)
    keys = range(MAPPING_STATIC_KEYS)
    choices = [StaticDecode(Decoder.BUFFERS, key, window) for window in WINDOWS for key in keys]
    found: list[tuple[int, int, Decoded]] = []
    for choice in choices[:most]:
        if found and deadline.expired():
            break
        decoded = decode_static(model, choice, deadline)
        found.append((decoded.latency, choice.window, decoded))
    best = min(found, key=lambda tried: tried[0])
    attempts = sum(decoded.attempts for _, _, decoded in found)
    per_decode = max(attempts / len(found), 1.0)
    left = most - len(found)
    if left > len(keys) and not deadline.expired():
        # It begins with the static keys again, which is no news, and counts.
        evolved = Decoded(
            *mapping_evolve_keys(
                model,
                decodes=left,
                window=best[1],
                fifo=False,
                seed=seed % (1 << 64),
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
            )
        )
        attempts += evolved.attempts
        best = min(best, (evolved.latency, best[1], evolved), key=lambda tried: tried[0])
    solution = best[2].solution()
    used = most if decodes is not None else round(attempts / per_decode)
    return Mapped(solution.residencies, solution.latency, used)


def malloc_game(
    problem: MappingProblem,
    *,
    decodes: int | None,
    seconds: float | None,
    seed: int,
    offline_start: bool = True,
    **without: bool,
) -> Mapped:
    """Let the agent play; ``without`` are its abilities that are switched off."""
    from rl.agent import STATIC_STARTS, Abilities, MallocGameAgent
    from solvers.protocol import Deadline

    most = _MANY_DECODES if decodes is None else decodes
    abilities = Abilities(**without)
    agent = (
        MallocGameAgent(most, abilities=abilities)
        if offline_start
        else MallocGameAgent(most, starts=STATIC_STARTS, abilities=abilities)
    )
    outcome = agent.solve(problem, deadline=Deadline(seconds or _ALL_DAY_S), seed=seed)
    return _mapped(problem, outcome, round(outcome.statistics["decodes"]))


def program_order(
    problem: MappingProblem,
    *,
    decodes: int | None,
    seconds: float | None,
    seed: int,
    search: bool = True,
) -> Mapped:
    """Play in program order: one game by the policy alone, then one with tree search.

    A game without search, a pass over all accesses, is one decode; a simulation of every move is
    about as many moves, and counts as another. From the time limit on there is no search.
    """
    from rl.program_order import Play, load_network, play
    from solvers.mapping.native import native_model
    from solvers.protocol import Deadline

    deadline = Deadline(seconds or _ALL_DAY_S)
    model, network = native_model(problem), load_network()
    best = play(model, network, Play(simulations=0), deadline=deadline, seed=seed).decoded
    moves = per_game = max(best.attempts, 1)
    # Its own moves are a decode, too.
    left = (_MANY_DECODES if decodes is None else decodes) - 2
    if search and left > 0 and best.latency > problem.floor:
        how = Play(simulations=min(left, _MOST_SIMULATIONS))
        searched = play(model, network, how, deadline=deadline, seed=seed).decoded
        moves += searched.attempts
        best = min(best, searched, key=lambda played: played.latency)
    solution = best.solution()
    return Mapped(solution.residencies, solution.latency, round(moves / per_game))


def exact(
    problem: MappingProblem, *, decodes: int | None, seconds: float | None, seed: int
) -> Mapped:
    """Run CP-SAT from the best of 24 static decodes until it has proven it, or for so long."""
    from solvers.mapping.cp import CpMapping
    from solvers.mapping.decoders import StaticDecodes
    from solvers.protocol import Deadline

    del decodes
    deadline = Deadline(seconds or _ALL_DAY_S)
    start = StaticDecodes().solve(problem, deadline=deadline).solution
    outcome = CpMapping().solve(problem, deadline=deadline, seed=seed, incumbent=start)
    return _mapped(problem, outcome, 24)._replace(lower_bound=outcome.lower_bound)


def bound(problem: MappingProblem, *, seconds: float) -> Bound:
    """Return ticks that no mapping is below: the linear relaxation."""
    from solvers.mapping.bound import linear_bound
    from solvers.mapping.relaxation import Grid, Relaxation
    from solvers.protocol import Deadline

    simple = problem.floor
    if not problem.accesses:
        return Bound(simple, True)
    linear = linear_bound(Relaxation(problem, Grid.COARSE), Deadline(seconds))
    return Bound(max(simple, linear.ticks), linear.closed)


def _mapped(problem: MappingProblem, outcome: Outcome[MappingSolution], decodes: int) -> Mapped:
    if outcome.solution is None:
        return Mapped((), problem.all_slow, decodes)
    return Mapped(outcome.solution.residencies, outcome.solution.latency, decodes)
