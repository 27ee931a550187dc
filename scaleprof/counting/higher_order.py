"""Operators that take functions: what runs inside them is counted, and of branches the dearer.

torch calls them higher-order operators. `COUNTED` have a formula, of `CHOOSING` the dearer branch counts,
`FREE` add nothing, into `LOOKED_INTO` the ledger looks, and `UNKNOWN` hide what they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch._C import DispatchKey
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from scaleprof.counting.formulas import attention, attention_backward
from scaleprof.counting.tensors import elements_of, tensors_of

if TYPE_CHECKING:
    from scaleprof.counting.ledger import Ledger, Tally

# The full square is counted, whatever a block mask leaves out, as it is for every attention.
COUNTED: dict[str, Callable[..., int]] = {
    "flex_attention": attention(),
    "flex_attention_backward": attention_backward(0),
}
CHOOSING = frozenset({"cond", "switch"})
LOOPS = frozenset({"while_loop", "while_loop_stack_output"})
SCANS = frozenset({"scan", "map_impl", "associative_scan"})
FREE = frozenset({"print", "inline_asm_elementwise", "_export_tracepoint", "run_dtensor_rng_op"})
LOOKED_INTO = (
    LOOPS
    | SCANS
    | {
        *("auto_functionalized", "auto_functionalized_v2", "autograd_function_apply"),
        *(
            "control_deps",
            "custom_function_call",
            "dynamo_bypassing_wrapper",
            "flat_apply",
            "flex_gemm",
            "foreach_map",
        ),
        *("graphsafe_run_with_rng_state", "hints_wrapper", "invoke_leaf_function", "invoke_quant"),
        *("invoke_quant_packed", "invoke_subgraph", "local_map_hop", "out_dtype", "run_const_graph"),
        *("run_and_save_rng_state", "run_with_rng_state", "strict_mode", "tag_activation_checkpoint"),
        *("trace_wrapped", "with_effects", "wrap", "wrap_activation_checkpoint", "wrap_with_autocast"),
        *("wrap_with_set_grad_enabled",),
    }
)
UNKNOWN = frozenset(
    {
        *("aoti_call_delegate", "call_torchbind", "executorch_call_delegate", "inductor_compiled_code"),
        *("triton_kernel_wrapper_functional", "triton_kernel_wrapper_mutation"),
    }
)


def run(ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a higher-order operator and enter what it costs."""
    name = func.name()
    if name in CHOOSING:
        return _run_dearest(ledger, name, *args, **kwargs)
    if name in LOOPS and ledger.device == "meta":
        return _run_once(ledger, name, *args, **kwargs)
    if name == "scan":
        step, *rest = args
        return _scan(_watched(ledger, step), *rest, **kwargs)
    if name in LOOKED_INTO:
        return _look_into(ledger, func, args, kwargs)
    return _run_whole(ledger, func, name, args, kwargs)


def _run_whole(ledger: Ledger, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """By its formula; without one it is named."""
    result = func(*args, **kwargs)
    ledger.keep_alive(result)
    tally = ledger.tally(name)
    ledger.add_traffic(tally, tensors_of((args, kwargs)), result)
    formula = COUNTED.get(name)
    if formula is not None:
        macs = formula(*args, **kwargs)
        tally["macs"] += macs
        if ledger.forward:
            query, value = args[0], args[2]
            tally["activations"] += result[0].numel() + macs // (query.shape[-1] + value.shape[-1])
    elif name not in FREE:
        tally["uncounted"] += elements_of(result)
    return result


class InTheOpen(TorchFunctionMode):
    """Runs branches, loops and scans of a training step where autograd sees what is inside.

    torch differentiates these operators by tracing their functions, which knows no weights but those that a
    compiler has made arguments of them.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.name() if isinstance(func, torch._ops.HigherOrderOperator) else ""
        if name not in CHOOSING | LOOPS | SCANS:
            return func(*args, **kwargs)
        with self:
            if name in CHOOSING:
                return _run_dearest(self._ledger, name, *args, **kwargs, watch=nullcontext())
            if name in LOOPS and self._ledger.device == "meta":
                return _run_once(self._ledger, name, *args, **kwargs, watch=nullcontext())
            if name == "scan":
                return _scan(*args, **kwargs)
            return func.py_kernels[DispatchKey.CompositeExplicitAutograd](*args, **kwargs)


def _scan(step: Any, carried: Any, sequences: Any, additional: Any = (), **_: Any) -> Any:
    """The steps of a scan, one after another; torch 2.11 runs one more, for the shapes."""
    outputs = []
    for slices in zip(*sequences, strict=True):
        result = step(*carried, *slices, *additional)
        carried, out = result[: len(carried)], result[len(carried) :]
        outputs.append(out)
    return [*carried, *(torch.stack(one) for one in zip(*outputs, strict=True))]


def _run_dearest(ledger: Ledger, name: str, choice: Any, *rest: Any, watch: Any = None) -> Any:
    """Run all branches; the dearest counts.

    The result is that of the branch that the value chooses, and in a training step (where `watch` is given)
    that of the dearest, whose backward pass is then the dearest's.
    """
    *branches, operands = rest
    if len(branches) == 1:  # a switch has them in a list
        branches = list(branches[0])
    results, costs = [], []
    for branch in branches:
        with ledger.aside() as tallies, watch or ledger:
            results.append(branch(*operands))
        costs.append(tallies)
    macs = [_macs(tallies) for tallies in costs]
    dearest = macs.index(max(macs))
    ledger.merge(costs[dearest])
    if len(set(macs)) > 1:
        ledger.assume(f"{name}: the dearest branch is taken ({max(macs)} MACs, others {min(macs)} or more)")
    if watch is not None or (isinstance(choice, torch.Tensor) and choice.is_meta):
        return results[dearest]
    return results[(0 if choice else 1) if name == "cond" else int(choice)]


def _macs(tallies: Mapping[tuple[str, str], Tally]) -> int:
    return sum(tally["macs"] for tally in tallies.values())


def _run_once(
    ledger: Ledger,
    name: str,
    _condition: Any,
    body: Any,
    carried: Any,
    additional: Any = (),
    *,
    watch: Any = None,
    **_: Any,
) -> Any:
    """A loop on the meta device, where no value says how often it runs: it is named, its body counts once."""
    if not ledger.has_no_values:
        raise RuntimeError(f"{name} runs as often as values say")
    with watch or ledger:
        result = body(*carried, *additional)
    ledger.tally(name)["uncounted"] += elements_of(result)
    ledger.assume(f"{name}: its body runs once, since only values would tell how often")
    if name == "while_loop":
        return result
    return tree_map(lambda one: one.unsqueeze(0) if isinstance(one, torch.Tensor) else one, result)


def _look_into(ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run it with the ledger on in the functions or operators that it is given."""
    if any(isinstance(one, torch._ops.OpOverload) for one in args):
        kernel = func.py_kernels.get(DispatchKey.CompositeExplicitAutograd)
        if kernel is not None:
            with ledger:
                return kernel(*args, **kwargs)
    watched_args, watched_kwargs = tree_map(lambda one: _watched(ledger, one), (args, kwargs))
    return func(*watched_args, **watched_kwargs)


def _watched(ledger: Ledger, value: Any) -> Any:
    if not callable(value) or isinstance(value, (type, torch.Tensor, torch._ops.OpOverload)):
        return value

    def watched(*args: Any, **kwargs: Any) -> Any:
        with ledger:
            return value(*args, **kwargs)

    return watched
