"""Facts of this machine, as a run's header would hold them."""

from __future__ import annotations

import os

import msgspec

import scaleprof
from scaleprof.engines.local import ALLOCATORS
from scaleprof.measuring import host
from scaleprof.measuring.references import PROTOCOL_VERSION


def describe_environment(device: str) -> dict[str, object]:
    """The host manifest for `device`, with scaleprof's and the protocol's versions.

    Raises:
        UsageError: no such device.
    """
    # As a worker would have them; the device order is read when torch first touches a GPU.
    os.environ.update({**host.DEVICE_ORDER, **host.OPENMP_WAITING})
    resolved = host.resolve_device(device)
    return {
        "scaleprof": scaleprof.__version__,
        "protocol": PROTOCOL_VERSION,
        "device": resolved,
        **msgspec.structs.asdict(host.describe_host(resolved, ALLOCATORS["pinned"][0])),
        "available_bytes": host.available_memory_bytes(),
    }
