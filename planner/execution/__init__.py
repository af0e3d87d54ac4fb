"""Proof by execution: the real model runs inside its planned memory, compared byte for byte."""

from __future__ import annotations
