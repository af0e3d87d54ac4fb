"""A plan to write, and the schema of plan files."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

import jsonschema

from planner.target_file import read_target
from planner.testing import naive_plan, random_graph

if TYPE_CHECKING:
    from planner.plans import Plan

SCHEMA = json.loads(files("planner").joinpath("schema", "plan.schema.json").read_text())


def example(seed: int = 5, target: str = "npu-1m") -> Plan:
    return naive_plan(random_graph(seed), read_target(target), seed)


def require_schema(text: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
