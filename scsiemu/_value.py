"""The decorator that makes a value: a frozen dataclass with slots. Not for hot paths (5 times as slow)."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, dataclass_transform

__all__ = ["value"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=False)
def value(cls: type[T]) -> type[T]:
    """Make `cls` an immutable value, compared by its fields."""
    return dataclasses.dataclass(frozen=True, slots=True)(cls)
