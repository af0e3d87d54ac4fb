"""Copies beside a schedule's CSV: they come back, and what is no round trip is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner
from planner.errors import BadFileError, InvalidPlanError, PlannerError
from planner.pipelining.files.offload_file import (
    offload_from_json,
    offload_to_json,
    read_offload,
    write_offload,
)
from planner.pipelining.files.schedule_csv import in_loss_order, schedule_from_csv

from .random_orders import schedules, with_copies

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from planner.pipelining.schedule import PipelineSchedule

SCHEMA = json.loads(
    (Path(planner.__file__).parent / "schema" / "pipeline-offload.schema.json").read_text()
)
GPIPE = schedule_from_csv(b"0F0,0F1,0F2,0B0,0B1,0B2\n1F0,1F1,1F2,1B0,1B1,1B2\n").schedule


def document() -> dict[str, Any]:
    """Return a legal file for GPIPE."""
    key = {"stage": 0, "microbatch": 1}
    out = {"kind": "offload", **key, "from": "0F2", "until": "0B0"}
    back = {"kind": "reload", **key, "from": "0B0", "until": "0B1"}
    return {
        "format": "planner.pipeline-offload",
        "version": 1,
        "ranks": [{"rank": 0, "moves": [out, back]}, {"rank": 1, "moves": []}],
    }


@given(schedules(), st.randoms(use_true_random=False))
def test_written_copies_come_back_and_keep_to_the_schema(
    drawn: tuple[PipelineSchedule, int], chance: random.Random
) -> None:
    plain, _ = drawn
    schedule = with_copies(chance, plain)
    text = offload_to_json(schedule)
    renamed = in_loss_order(schedule)
    jsonschema.validate(json.loads(text), SCHEMA)
    assert offload_from_json(text, in_loss_order(plain)) == renamed


def test_the_same_copies_are_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "moves.json"
    schedule = offload_from_json(json.dumps(document()), GPIPE)
    write_offload(schedule, path)
    assert json.loads(path.read_text()) == document()
    assert read_offload(path, GPIPE) == schedule


def test_a_schedule_without_copies_has_a_file_without_moves() -> None:
    moves = [rank["moves"] for rank in json.loads(offload_to_json(GPIPE))["ranks"]]
    assert moves == [[], []]


def move(index: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda root: root["ranks"][0]["moves"][index].update(changes)


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (lambda root: root.update(version=2), BadFileError, "This planner reads version 1"),
        (lambda root: root.update(format="planner.plan"), BadFileError, "format: "),
        (lambda root: root.update(extra=1), BadFileError, "extra: unknown field"),
        (lambda root: root.pop("ranks"), BadFileError, "ranks: missing"),
        (lambda root: root["ranks"].pop(), InvalidPlanError, "1 ranks, but the schedule has 2"),
        (lambda root: root["ranks"].reverse(), BadFileError, "1 stands in the place of 0"),
        (lambda root: root["ranks"][0]["moves"].pop(), InvalidPlanError, "has no reload"),
        (
            lambda root: root["ranks"][0]["moves"].pop(0),
            InvalidPlanError,
            "does not follow an offload",
        ),
        (move(0, kind="teleport"), BadFileError, "'teleport' is none of offload, reload"),
        (move(0, stage=-1), BadFileError, "ranks[0].moves[0].stage: -1 is outside"),
        (move(0, microbatch=7), InvalidPlanError, "is of nothing that this rank computes"),
        (move(0, stage=1), InvalidPlanError, "is of nothing that this rank computes"),
        (move(1, kind="offload"), InvalidPlanError, "is there twice"),
        (move(0, until="1B0"), BadFileError, "'1B0' is not in this rank's row"),
        (move(0, until="0F2"), InvalidPlanError, "ends before it may start"),
        (
            move(0, **{"from": "0F0", "until": "0F1"}),
            InvalidPlanError,
            "ends before the forward pass",
        ),
        (
            move(1, **{"from": "0B2"}),
            InvalidPlanError,
            "ends before it may start",
        ),
        (
            lambda root: (
                root["ranks"][0]["moves"][1].update({"from": "0B2"})
                or root["ranks"][0]["moves"][1].pop("until")
            ),
            InvalidPlanError,
            "starts after the gradient of the input",
        ),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(
    damage: Callable[[dict[str, Any]], object], error: type[PlannerError], reason: str
) -> None:
    root = document()
    offload_from_json(json.dumps(root), GPIPE)
    damage(root)
    with pytest.raises(error) as caught:
        offload_from_json(json.dumps(root), GPIPE)
    assert reason in str(caught.value)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(BadFileError):
        offload_from_json(data, GPIPE)
