"""Taking counted models apart: by operator, by module, and beside fvcore."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from scaleprof.app.choosing import Choice
from scaleprof.app.counting import Counted
from scaleprof.counting import trace_spec
from scaleprof.counting.crosscheck import cross_check
from scaleprof.models.adapting import adapted, tensors_of
from scaleprof.records import Mode, ModelSpec
from scaleprof.reporting.breakdown import CheckRow, ModuleRow, OperatorRow, module_rows, operator_rows
from scaleprof.units import plural


def by_operator(counted: Sequence[Counted]) -> list[OperatorRow]:
    """The operators of every model that was counted."""
    return [row for one in counted if one.cost for row in operator_rows(one.spec.spec_id, one.cost)]


def by_module(choice: Choice, counted: Sequence[Counted], depth: int, mode: Mode) -> list[ModuleRow]:
    """The modules, down to a depth, of every model that was counted."""
    rows: list[ModuleRow] = []
    for one in counted:
        if one.cost is not None:
            with redirect_stdout(sys.stderr):
                traced = trace_spec(choice.models[one.spec.model], one.spec, mode)
            rows += module_rows(one.spec.spec_id, traced.modules(depth))
    return rows


def against_fvcore(choice: Choice, spec: ModelSpec) -> list[CheckRow]:
    """Both counters on a model with real weights and inputs, and the rows of their differences."""
    model = choice.models[spec.model]
    with redirect_stdout(sys.stderr):
        network, inputs = model.build(spec), model.inputs(spec, 1)
        check = cross_check(adapted(network, inputs), *tensors_of(inputs))
    lines = [
        CheckRow(spec.spec_id, line.operators, line.ours, line.theirs, line.difference, line.explanation)
        for line in check.lines
    ]
    said = "all explained" if not check.unexplained else f"{check.unexplained} unexplained"
    said += f"; {plural(len(check.unknown), 'unknown operator', 'unknown operators')}"
    if check.unknown:
        said += f": {', '.join(one.operator for one in check.unknown)}"
    whole = CheckRow(spec.spec_id, "all", check.ours, check.theirs, check.theirs - check.ours, said)
    return [*lines, whole]
