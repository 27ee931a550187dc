"""MACs, parameters, activations and bytes of a model, without running it for real.

`count` takes any module, `count_spec` a family's model. Neither depends on a device or on the values of
weights.
"""

from __future__ import annotations

from scaleprof.counting.counter import count
from scaleprof.counting.families import count_spec

__all__ = ["count", "count_spec"]
