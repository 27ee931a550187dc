"""Operators that take functions: what runs inside them is counted, and of branches the dearer.

torch calls them higher-order operators. `COUNTED` have a formula, of `CHOOSING` the dearer branch counts,
`FREE` add nothing, into `LOOKED_INTO` the ledger looks, and `UNKNOWN` hide what they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch._C import DispatchKey
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
FREE = frozenset({"print", "inline_asm_elementwise", "_export_tracepoint", "run_dtensor_rng_op"})
LOOKED_INTO = LOOPS | {
    *("associative_scan", "auto_functionalized", "auto_functionalized_v2", "autograd_function_apply"),
    *(
        "control_deps",
        "custom_function_call",
        "dynamo_bypassing_wrapper",
        "flat_apply",
        "flex_gemm",
        "foreach_map",
    ),
    *("graphsafe_run_with_rng_state", "hints_wrapper", "invoke_leaf_function", "invoke_quant"),
    *("invoke_quant_packed", "invoke_subgraph", "local_map_hop", "map_impl", "out_dtype", "run_const_graph"),
    *("run_and_save_rng_state", "run_with_rng_state", "scan", "strict_mode", "tag_activation_checkpoint"),
    *("trace_wrapped", "with_effects", "wrap", "wrap_activation_checkpoint", "wrap_with_autocast"),
    *("wrap_with_set_grad_enabled",),
}
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


def _run_dearest(ledger: Ledger, name: str, choice: Any, *rest: Any) -> Any:
    """Run all branches; the dearest counts. The result is that of the branch that the value chooses."""
    *branches, operands = rest
    if len(branches) == 1:  # a switch has them in a list
        branches = list(branches[0])
    results, costs = [], []
    for branch in branches:
        with ledger.aside() as tallies, ledger:
            results.append(branch(*operands))
        costs.append(tallies)
    macs = [_macs(tallies) for tallies in costs]
    dearest = macs.index(max(macs))
    ledger.merge(costs[dearest])
    if len(set(macs)) > 1:
        ledger.assume(f"{name}: the dearest branch is taken ({max(macs)} MACs, others {min(macs)} or more)")
    if isinstance(choice, torch.Tensor) and choice.is_meta:
        return results[dearest]
    return results[(0 if choice else 1) if name == "cond" else int(choice)]


def _macs(tallies: Mapping[tuple[str, str], Tally]) -> int:
    return sum(tally["macs"] for tally in tallies.values())


def _run_once(
    ledger: Ledger, name: str, _condition: Any, body: Any, carried: Any, additional: Any = ()
) -> Any:
    """A loop on the meta device, where no value says how often it runs: it is named, its body counts once."""
    if not ledger.has_no_values:
        raise RuntimeError(f"{name} runs as often as values say")
    with ledger:
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
