"""What OpenMP's waiting costs on a quiet and on a shared machine: `python benchmarks/waiting.py`.

Times EfficientNet-B0 with two threads in one process, and in two processes at once on the same CPUs, under
the default policy, two shorter spins, and passive waiting. (docs/decisions/0015)
"""

from __future__ import annotations

import os
import subprocess
import sys

POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "GOMP_SPINCOUNT=20000": {"GOMP_SPINCOUNT": "20000"},
    "GOMP_SPINCOUNT=3000": {"GOMP_SPINCOUNT": "3000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
SECONDS = 5
REPEATS = 2
MEASURE = """
import statistics, sys, time, torch, torchvision
torch.set_num_threads(2)
network = torchvision.models.efficientnet_b0().eval()
image = torch.randn(1, 3, 224, 224)
with torch.inference_mode():
    for _ in range(5):
        network(image)
    times_s = []
    ends_s = time.perf_counter() + float(sys.argv[1])
    while time.perf_counter() < ends_s:
        began_s = time.perf_counter()
        network(image)
        times_s.append(time.perf_counter() - began_s)
print(f"{1e3 * statistics.median(times_s):.1f}")
"""


def latencies_ms(policy: dict[str, str], processes: int) -> list[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **policy}
    command = [sys.executable, "-c", MEASURE, str(SECONDS)]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return [process.communicate()[0].strip() for process in started]


def main() -> None:
    print(f"{'policy':26}{'alone (ms)':>12}{'two at once (ms)':>20}")
    for _ in range(REPEATS):
        for name, policy in POLICIES.items():
            alone, together = latencies_ms(policy, 1), latencies_ms(policy, 2)
            print(f"{name:26}{alone[0]:>12}{', '.join(together):>20}", flush=True)


if __name__ == "__main__":
    main()
