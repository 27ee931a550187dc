"""Which runtimes cannot run which workloads, whatever the network; no torch is needed to know."""

from __future__ import annotations

from scaleprof.records import Runtime, Workload

# They take what has been exported, and choose the layout of weights and images themselves.
EXPORTED: frozenset[Runtime] = frozenset({"onnxruntime", "openvino"})


def why_unsupported(runtime: Runtime, workload: Workload) -> str | None:
    """Why a runtime cannot run a workload, with the way out, in one line; None if it may."""
    if workload.mode == "train" and runtime not in {"eager", "compile"}:
        return f"{runtime} does not train: use --runtime eager or compile"
    if runtime == "cudagraph" and not workload.on_cuda:
        return f"cudagraph needs an NVIDIA GPU, and this runs on {workload.device}: use --device cuda"
    return _why_not_exported(runtime, workload) if runtime in EXPORTED else None


def _why_not_exported(runtime: Runtime, workload: Workload) -> str | None:
    if workload.on_cuda:
        return f"{runtime} is measured on the CPU only: use --device cpu"
    if workload.cast == "autocast":
        return f"autocast is torch's own, and {runtime} has none: use --cast weights"
    if workload.memory_format != "contiguous":
        return f"{runtime} chooses its own layouts: use --memory-format contiguous"
    return None
