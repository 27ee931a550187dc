"""MACs, parameters, activations and bytes of a model, without running it for real.

`count` takes any module, `count_spec` a model's spec; `trace` and `trace_spec` also tell which module costs
what. None depends on a device or on the values of weights.
"""

from __future__ import annotations

from scaleprof.counting.counter import count, trace
from scaleprof.counting.families import count_spec, trace_spec

__all__ = ["count", "count_spec", "trace", "trace_spec"]
