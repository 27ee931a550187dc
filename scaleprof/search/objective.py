"""A person's own score of a network: `FILE.py:FUNCTION`, called with the built network and its spec.

The function returns a number, higher being better, or a pair of it and half of its 95 % interval. Every
generator of random numbers is seeded with the trial's seed before the network is built and again before the
function is called. Its code is executed: name only what you trust.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from scaleprof.errors import ModelError
from scaleprof.models.user import Home, find_function, foreign_code, load_file
from scaleprof.records import ModelSpec

_SHAPE = "it returns a score, or a pair of a score and its error"
_PAIR = 2


class Score(NamedTuple):
    """What a function has said: a finite score, and half of its 95 % interval if it has one."""

    value: float
    error: float | None


class Objective:
    """A function that scores networks, loaded once."""

    def __init__(self, reference: str, function: Callable[..., object], home: Home) -> None:
        self._reference = reference
        self._function = function
        self._home = home

    def score(self, network: nn.Module, spec: ModelSpec) -> Score:
        """What the function makes of a network.

        Raises:
            UsageError: it raised; the cause is kept.
            ModelError: what it returned is no score.
        """
        with self._home.open(), foreign_code(self._reference, f"for {spec.spec_id}"):
            returned = self._function(network, spec)
        pair = tuple(returned) if isinstance(returned, (tuple, list)) else (returned, None)
        if len(pair) != _PAIR:
            raise ModelError(f"{self._reference} returned {len(pair)} values: {_SHAPE}")
        value, error = self._number(pair[0], "score"), pair[1]
        if error is None:
            return Score(value, None)
        half_width = self._number(error, "error")
        if half_width < 0:
            raise ModelError(f"{self._reference} returned the error {half_width:.6g}: it is half an interval")
        return Score(value, half_width)

    def _number(self, value: object, role: str) -> float:
        """A finite number of any kind: Python's, numpy's, or a tensor of one element."""
        plain = value
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
            # Of several elements this is a list, which is no score.
            plain = value.tolist()
        if isinstance(plain, bool) or not isinstance(plain, (int, float)):
            raise ModelError(f"{self._reference} returned {type(value).__name__} as {role}: {_SHAPE}")
        if not math.isfinite(plain):
            raise ModelError(f"{self._reference} returned {plain} as {role}: it must be a finite number")
        return float(plain)


def load_objective(reference: str) -> Objective:
    """The function of `FILE.py:FUNCTION`.

    Raises:
        UsageError: there is no such file or function, or the file does not run.
    """
    module, name, home = load_file(reference, example="score")
    return Objective(reference, find_function(module, name, reference), home)
