"""Our count beside fvcore's, operator group by operator group, with every known difference explained.

fvcore traces a run on real tensors and has its own formulas; it shares no code with this counter. Where the
two differ, the reason is named, and what stays unexplained is said.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from torch import nn

from scaleprof.counting.counter import Trace, alone_in_parts, trace
from scaleprof.counting.ledger import ATTENTION, Tally
from scaleprof.errors import NETWORK_ERRORS, CountingError
from scaleprof.records import UncountedOperator

_RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
# fvcore's names of what both count, by the kind of arithmetic.
_CONVOLUTIONS = frozenset({"conv"})
_PRODUCTS = frozenset({"linear", "matmul", "bmm", "einsum", "addmm", "mv"})
_FREE_HERE = "free by convention here; fvcore counts it"


class CheckLine(msgspec.Struct, frozen=True):
    """A group of operators: our MACs, fvcore's, and why they differ (None where they do not)."""

    operators: str
    ours: int
    theirs: int
    explanation: str | None

    @property
    def difference(self) -> int:
        """Theirs less ours."""
        return self.theirs - self.ours


class CrossCheck(msgspec.Struct, frozen=True):
    """Both totals, the lines that make them up, and what no line explains.

    Attributes:
        unexplained: MACs of the difference that no line has a reason for.
        unsupported: operators that fvcore saw and has no formula for, with their calls.
        unknown: operators that we saw and have no formula for.
    """

    ours: int
    theirs: int
    lines: tuple[CheckLine, ...]
    unexplained: int
    unsupported: dict[str, int]
    unknown: tuple[UncountedOperator, ...]


def cross_check(module: nn.Module, *inputs: torch.Tensor) -> CrossCheck:
    """Count a real module on real inputs with both counters.

    Raises:
        CountingError: the module cannot be run, or fvcore cannot trace it.
    """
    ours = trace(module, *inputs)
    theirs, unsupported = _fvcore(module, inputs)
    lines = tuple(_lines(ours, theirs, unsupported))
    return CrossCheck(
        ours=sum(line.ours for line in lines),
        theirs=sum(line.theirs for line in lines),
        lines=lines,
        unexplained=sum(line.difference for line in lines if line.explanation is None),
        unsupported=dict(unsupported),
        unknown=ours.cost.uncounted,
    )


def _fvcore(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Counter[str], Counter[str]]:
    level = logging.getLogger("fvcore").level
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    training = [(part, part.training) for part in module.modules()]
    try:
        with warnings.catch_warnings(), torch.no_grad(), alone_in_parts():
            warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which warns of its own end
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(module.eval(), inputs)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counted = Counter({name: int(macs) for name, macs in analysis.by_operator().items()})
            return counted, Counter(analysis.unsupported_ops())
    except NETWORK_ERRORS as error:
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise CountingError(f"fvcore cannot trace {type(module).__name__}: {words}") from error
    finally:
        for part, was_training in training:
            part.training = was_training
        logging.getLogger("fvcore").setLevel(level)


def _lines(ours: Trace, theirs: Counter[str], unsupported: Counter[str]) -> list[CheckLine]:
    groups = _ours_by_group(ours.ledger.by_operator())
    recurrent = _recurrent_macs(ours)
    has_recurrent = any(unsupported.get(f"aten::{name}") for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
    fused = groups.pop("fused attention", 0)
    lines = [
        _line("convolutions", groups.pop("convolutions", 0), _pick(theirs, _CONVOLUTIONS)),
        _line(
            "linear layers and matrix products",
            groups.pop("products", 0) - recurrent,
            _pick(theirs, _PRODUCTS),
        ),
    ]
    if recurrent:
        reason = "fvcore has no formula for recurrent layers" if has_recurrent else None
        lines.append(CheckLine("recurrent layers", recurrent, 0, reason))
    if fused:
        known = any("scaled_dot_product" in name for name in unsupported)
        lines.append(
            CheckLine("fused attention", fused, 0, "fvcore has no formula for it" if known else None)
        )
    lines += [CheckLine(name, macs, 0, None) for name, macs in groups.items() if macs]
    lines += [CheckLine(name, 0, macs, _FREE_HERE) for name, macs in sorted(theirs.items()) if macs]
    return [line for line in lines if line.ours or line.theirs]


def _line(operators: str, ours: int, theirs: int) -> CheckLine:
    return CheckLine(operators, ours, theirs, "the same" if ours == theirs else None)


def _pick(theirs: Counter[str], names: frozenset[str]) -> int:
    """What fvcore counts under these names, taken out of its counter."""
    return sum(theirs.pop(name) for name in list(theirs) if name in names)


def _ours_by_group(tallies: Mapping[str, Tally]) -> dict[str, int]:
    groups: Counter[str] = Counter()
    for name, tally in tallies.items():
        if tally["macs"]:
            groups[_group(name)] += tally["macs"]
    return dict(groups)


def _group(operator: str) -> str:
    if "convolution" in operator:
        return "convolutions"
    if operator == ATTENTION:
        return "fused attention"
    is_product = operator.strip("_") in ("mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot")
    return "products" if is_product else operator


def _recurrent_macs(ours: Trace) -> int:
    paths = [path for path, module in ours.places if isinstance(module, _RECURRENT)]
    whole = isinstance(ours.network, _RECURRENT)
    tallies = ours.ledger.by_operator() if whole else ours.ledger.within(*paths)
    return sum(tally["macs"] for tally in tallies.values()) if paths or whole else 0
