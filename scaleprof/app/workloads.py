"""Workloads from what is asked for: every combination of batches, threads, dtypes, runtimes and layouts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeVar, get_args

from scaleprof.errors import UsageError, suggestion
from scaleprof.measuring import host
from scaleprof.records import Cast, DType, MemoryFormat, Mode, Runtime, Workload

_Value = TypeVar("_Value", bound=int | str)


def list_workloads(
    device: str,
    *,
    batch_size: int | Sequence[int] = 1,
    threads: int | Sequence[int] | None = None,
    dtype: str | Sequence[str] = "fp32",
    memory_format: str | Sequence[str] = "contiguous",
    mode: str = "infer",
    runtime: str | Sequence[str] = "eager",
    cast: str | Sequence[str] = "weights",
) -> list[Workload]:
    """Every combination of these, in order and each once; without `threads`, all CPUs of this process.

    In fp32 nothing is cast, so that it is there once whatever `cast` says.

    Raises:
        UsageError: a batch, a number of threads, or a name of these that cannot be.
    """
    sizes = _distinct(batch_size)
    if not sizes or min(sizes) < 1:
        raise UsageError(f"--batch-size {','.join(map(str, sizes))}: every batch has at least 1 image")
    usable = host.usable_cpus()
    counts = [usable] if threads is None else _distinct(threads)
    if not counts or not 1 <= min(counts) <= max(counts) <= usable:
        raise UsageError(f"--threads {','.join(map(str, counts))}: this process may use 1 to {usable} CPUs")
    dtypes = known_names(dtype, get_args(DType), option="--dtype")
    layouts = known_names(memory_format, get_args(MemoryFormat), option="--memory-format")
    (step,) = known_names(mode, get_args(Mode), option="--mode")
    runtimes = known_names(runtime, get_args(Runtime), option="--runtime")
    casts = known_names(cast, get_args(Cast), option="--cast")
    axes = product(counts, runtimes, dtypes, casts, layouts, sizes)
    workloads = [
        Workload(
            device,
            batch_size=size,
            threads=count,
            dtype=kind,
            mode=step,
            runtime=form,
            memory_format=layout,
            cast="weights" if kind == "fp32" else how,
        )
        for count, form, kind, how, layout, size in axes
    ]
    return list(dict.fromkeys(workloads))


def known_names(values: str | Sequence[str], known: Sequence[str], *, option: str) -> list[Any]:
    """The values, each one of `known`, and one at least."""
    names = _distinct(values)
    for name in names or [""]:
        if name not in known:
            hint = suggestion(name, known) or " is not known"
            raise UsageError(f"{option} '{name}'{hint} ({', '.join(known)})")
    return names


def _distinct(values: _Value | Sequence[_Value]) -> list[_Value]:
    """One value or several, each once."""
    one = isinstance(values, (int, str)) or not isinstance(values, Sequence)
    return [values] if one else list(dict.fromkeys(values))  # type: ignore[arg-type, list-item]
