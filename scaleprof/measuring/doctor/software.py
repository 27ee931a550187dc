"""The software under a measurement: C library, environment variables, torch, the NVML binding."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from scaleprof.measuring.doctor.finding import Finding, fine, printable, unknown, warn
from scaleprof.measuring.doctor.probe import TorchFacts, ask_torch
from scaleprof.measuring.kernel_files import read_text

_MALLOCS = ("jemalloc", "tcmalloc", "mimalloc", "hoard", "snmalloc")
_THREAD_VARIABLE = re.compile(r"[A-Z]+_NUM_THREADS")
# Set by hand, these change what is timed, and a worker inherits them.
_INFLUENTIAL = re.compile(
    r"(KMP|GOMP)_\w+|OMP_(?!NUM_THREADS|WAIT_POLICY)\w+|MKL_(?!NUM_THREADS)\w+|(ONE)?DNNL?_\w+"
    r"|ATEN_CPU_CAPABILITY|CUDA_LAUNCH_BLOCKING|NVIDIA_TF32_OVERRIDE|TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
    r"|PYTORCH_(CUDA_)?ALLOC_CONF|PYTORCH_NO_CUDA_MEMORY_CACHING|CUBLAS_WORKSPACE_CONFIG"
)
_NVML_PACKAGE, _INACTIVE_NVML_PACKAGE = "nvidia-ml-py", "pynvml"
# What torch calls x86 code that uses no vector unit beyond SSE2.
_PLAIN_CODE = ("DEFAULT", "NO AVX")


class SoftwareFacts(msgspec.Struct, frozen=True):
    """What is installed and set here.

    `libc`: name and version, None if it has none to tell. `worker_environ`: what a worker would be given.
    `mapped_mallocs`: other allocators that this process has loaded. `nvml_packages`: version by name.
    `torchvision_needs`: its declared requirement of torch.
    """

    libc: str | None
    environ: dict[str, str]
    worker_environ: dict[str, str]
    mapped_mallocs: tuple[str, ...]
    nvml_packages: dict[str, str]
    torchvision_needs: str | None
    torch: TorchFacts


def read_software(
    environ: Mapping[str, str], worker_environ: Mapping[str, str], root: Path = Path("/")
) -> SoftwareFacts:
    """The facts; torch is asked in a process of its own."""
    names = (_NVML_PACKAGE, _INACTIVE_NVML_PACKAGE)
    found = {re.sub(r"[-_.]+", "-", one.name or "").lower(): one.version for one in distributions()}
    return SoftwareFacts(
        libc=_libc(),
        environ=dict(environ),
        worker_environ=dict(worker_environ),
        mapped_mallocs=_mapped_mallocs(root),
        nvml_packages={name: found[name] for name in names if name in found},
        torchvision_needs=_torchvision_needs(),
        torch=ask_torch(worker_environ),
    )


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # only glibc has this name
        return " ".join(filter(None, platform.libc_ver())) or None


def _mapped_mallocs(root: Path) -> tuple[str, ...]:
    """File names of other allocators among the libraries of this process."""
    lines = (read_text(root / "proc" / "self" / "maps") or "").splitlines()
    files = {Path(line.split(None, 5)[-1]).name for line in lines if "/" in line}
    return tuple(sorted(name for name in files if any(malloc in name for malloc in _MALLOCS)))


def _torchvision_needs() -> str | None:
    try:
        lines = requires("torchvision") or []
    except PackageNotFoundError:
        return None
    return next((line for line in lines if re.match(r"torch\b(?![-_.\w])", line)), None)


def check_libc(facts: SoftwareFacts) -> Finding:
    """The allocator policy of the workers is one of glibc's."""
    name = "C library"
    if facts.libc is None:
        return unknown(name, remedy="the pinned allocator needs glibc: Debian, Ubuntu, Fedora, not Alpine")
    if facts.libc.startswith("glibc"):
        return fine(name, f"{facts.libc}: the pinned allocator policy works")
    return warn(
        name,
        f"{facts.libc}: the allocator cannot be pinned, so memory may cost each launch differently",
        "a system or image with glibc: Debian, Ubuntu, Fedora, not Alpine",
    )


def check_malloc(facts: SoftwareFacts) -> Finding:
    """Another allocator, or settings of glibc's own, that a worker would inherit."""
    name = "allocator"
    preloaded = facts.environ.get("LD_PRELOAD", "")
    named = [Path(part).name for part in re.split(r"[:\s]+", preloaded) if part]
    others = sorted({*facts.mapped_mallocs, *(n for n in named if any(malloc in n for malloc in _MALLOCS))})
    if others:
        return warn(
            name,
            f"{printable(', '.join(others))} replaces glibc's malloc: the pinned policy does nothing",
            "unset LD_PRELOAD (or take it out of /etc/ld.so.preload)",
        )
    mine = sorted(
        key
        for key, value in facts.environ.items()
        if key.startswith("MALLOC_") or (key == "GLIBC_TUNABLES" and "glibc.malloc" in value)
    )
    if mine:
        lost = [key for key in mine if facts.worker_environ.get(key) != facts.environ[key]]
        kept = [key for key in mine if key not in lost]
        parts = [f"{', '.join(lost)} will be overridden"] if lost else []
        parts += [f"{', '.join(kept)} will be kept"] if kept else []
        return warn(name, f"set here: {'; '.join(parts)}", f"unset {' '.join(mine)}")
    return fine(name, "glibc's own, and nothing set for it")


def check_thread_variables(facts: SoftwareFacts) -> Finding:
    """Variables that say another number of threads than a worker will have."""
    name = "thread variables"
    overridden = sorted(
        key
        for key, value in facts.environ.items()
        if _THREAD_VARIABLE.fullmatch(key) and facts.worker_environ.get(key) != value
    )
    if not overridden:
        return fine(name, "none that says otherwise than --threads")
    seen = ", ".join(
        f"{key}={printable(facts.environ[key])} ({facts.worker_environ[key]} in a worker)"
        for key in overridden
    )
    return warn(name, seen, f"say it by --threads, and unset {' '.join(overridden)}")


def check_variables(facts: SoftwareFacts) -> Finding:
    """Variables that change what is timed and that a worker inherits."""
    name = "other variables"
    kept = sorted(
        key
        for key, value in facts.environ.items()
        if _INFLUENTIAL.fullmatch(key) and facts.worker_environ.get(key) == value
    )
    if not kept:
        return fine(name, "none that changes what is timed")
    seen = ", ".join(f"{key}={printable(facts.environ[key])}" for key in kept)
    return warn(name, f"{seen}: inherited by the workers", f"unset {' '.join(kept)}, unless it is meant so")


def check_torch(facts: SoftwareFacts) -> Finding:
    """torch and torchvision are built for each other, or fail in odd places."""
    name = "torch, torchvision"
    torch, needs = facts.torch, facts.torchvision_needs
    asked = f" (torchvision asks for {needs})" if needs else ""
    mend = f"install both anew from one index: pip install --force-reinstall torch torchvision{asked}"
    if torch.error:
        return warn(name, printable(torch.error), mend)
    seen = f"{torch.torch}, {torch.torchvision}"
    try:
        belongs = (
            Requirement(needs).specifier.contains(torch.torch or "", prereleases=True) if needs else None
        )
    except InvalidRequirement:
        belongs = None
    if belongs is None:
        return unknown(name, f"{seen}; which torch this torchvision was built for is not declared")
    return fine(name, seen) if belongs else warn(name, f"{seen}: not made for each other", mend)


def check_onednn(facts: SoftwareFacts) -> Finding:
    """Convolutions on the CPU are oneDNN's; without it they are several times slower."""
    name = "oneDNN"
    if facts.torch.onednn is None:
        return unknown(name, "torch did not say")
    if facts.torch.onednn:
        return fine(name, "torch has it")
    return warn(name, "this torch is built without it", "a torch from PyPI or download.pytorch.org")


def check_capability(facts: SoftwareFacts) -> Finding:
    """Which vector instructions torch's own code uses."""
    name = "CPU capability"
    capability = facts.torch.capability
    if capability is None:
        return unknown(name, "torch did not say")
    if capability.upper() not in _PLAIN_CODE:
        return fine(name, capability)
    return warn(
        name,
        f"{capability}: torch uses no AVX2 here",
        "unset ATEN_CPU_CAPABILITY; in a virtual machine pass the host's CPU through",
    )


def check_nvml_package(facts: SoftwareFacts) -> Finding:
    """The inactive package `pynvml` shadows the one that is kept up, and installs a start-up hook."""
    name = "NVML binding"
    if version := facts.nvml_packages.get(_INACTIVE_NVML_PACKAGE):
        return warn(
            name,
            f"the inactive package pynvml {version} is installed: it hooks into every start of Python",
            "pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py",
        )
    if version := facts.nvml_packages.get(_NVML_PACKAGE):
        return fine(name, f"nvidia-ml-py {version}")
    return warn(name, "nvidia-ml-py is not installed", "pip install nvidia-ml-py")


SOFTWARE_CHECKS = (
    check_libc,
    check_malloc,
    check_thread_variables,
    check_variables,
    check_torch,
    check_onednn,
    check_capability,
    check_nvml_package,
)
