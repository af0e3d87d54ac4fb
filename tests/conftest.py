"""Options of the whole suite."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does.
settings.register_profile("planner", deadline=None)
settings.load_profile("planner")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share", metavar="K/N", help="only the K-th of N shares of the tests, by their names"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of other shares: a machine with little time runs one after the other."""
    given = config.getoption("--share")
    if given is None:
        return
    share, _, shares = given.partition("/")
    if not (share.isdigit() and shares.isdigit() and int(share) < int(shares)):
        raise pytest.UsageError(f"--share {given}: give K/N, with 0 <= K < N")
    left_out = [i for i in items if zlib.crc32(i.nodeid.encode()) % int(shares) != int(share)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]
