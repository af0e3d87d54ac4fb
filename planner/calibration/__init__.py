"""What operators cost on this processor: measured, fitted, and checked model against model."""

from __future__ import annotations
