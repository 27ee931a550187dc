"""What torch says of itself, asked in a process of its own: `python -m scaleprof.measuring.doctor.probe`.

A broken installation may end the process that imports it, and asking for a GPU's name leaves a context on it;
neither may happen to the one that examines the machine.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping

import msgspec

# What a broken or mismatched installation raises while it is imported.
_BROKEN = (ImportError, RuntimeError, OSError, AttributeError)


class TorchFacts(msgspec.Struct, frozen=True):
    """What torch says; `error` is how importing it or torchvision ended, if badly.

    `gpu_uuids` are those that torch sees, in its own order.
    """

    error: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    cuda_build: str | None = None
    capability: str | None = None
    onednn: bool | None = None
    gpu_uuids: tuple[str, ...] = ()


def ask_torch(environ: Mapping[str, str]) -> TorchFacts:
    """Ask in a fresh process with this environment, which is to be a worker's."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scaleprof.measuring.doctor.probe"],
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        how = f"ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else lines[-1]
        return TorchFacts(error=f"importing torch: {how}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=TorchFacts)


def probe() -> TorchFacts:
    """Import torch and torchvision here and say what came of it."""
    try:
        import torch
    except _BROKEN as error:
        return TorchFacts(error=f"import torch: {_first_line(error)}")
    facts = TorchFacts(
        torch=str(torch.__version__),
        cuda_build=torch.version.cuda,
        capability=torch.backends.cpu.get_cpu_capability(),
        onednn=torch.backends.mkldnn.is_available(),
        gpu_uuids=tuple(
            str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())
        ),
    )
    try:
        import torchvision
    except _BROKEN as error:
        return msgspec.structs.replace(facts, error=f"import torchvision: {_first_line(error)}")
    return msgspec.structs.replace(facts, torchvision=str(torchvision.__version__))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(probe()).decode() + "\n")
