"""Which network, and how it is run."""

from __future__ import annotations

from typing import Literal

from scaleprof.records.values import Value, require_finite

BASE_STRATEGY = "base"
PUBLISHED_STRATEGY = "published"

Phi = int | float
Shape = dict[str, int | tuple[int, ...]]
MatchMetric = Literal["macs", "params", "activations"]
Mode = Literal["infer", "train", "decode"]
DType = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Cast = Literal["weights", "autocast"]
Runtime = Literal["eager", "compile", "cudagraph", "onnxruntime", "openvino"]
Device = str  # "cpu", "cuda" or "cuda:N"


def spec_id(model: str, strategy: str, phi: Phi | None, published: str | None = None) -> str:
    """The name of a spec, `MODEL/STRATEGY/PHI`.

    >>> spec_id("efficientnet_b0", "compound", 2.0), spec_id("efficientnet_b0", "published", None, "L2")
    ('efficientnet_b0/compound/2', 'efficientnet_b0/published/L2')
    """
    value = published if phi is None else format(phi, ".10g")
    return f"{model}/{strategy}/{value}"


class ModelSpec(Value, frozen=True):
    """One model of a family: what was asked for, and the integers it became.

    `depth`, `width` and `resolution` are factors against the base (solved ones under `match`); `input_size`
    is the side in `input_unit`, None for a user's own inputs; `shape` holds the family's integers, None for
    a user's network, which is known by its factors. `also` names the specs that coincide with this one;
    `unmatched` says why no factors bring the matched metric near its budget; `digest` tells one text of a
    person's own code from another.
    """

    model: str
    strategy: str
    phi: Phi | None
    depth: float
    width: float
    resolution: float
    input_size: int | None
    shape: Shape | None
    input_unit: Literal["px", "tokens"] = "px"
    published: str | None = None
    also: tuple[str, ...] = ()
    rounding: Literal["tf", "pycls"] = "tf"
    match: MatchMetric | None = None
    unmatched: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        require_finite("factors", (self.depth, self.width, self.resolution, self.phi or 0))
        if min(self.depth, self.width, self.resolution) <= 0:
            raise ValueError(f"factors must be above zero: {self.depth}, {self.width}, {self.resolution}")
        if self.input_size is not None and self.input_size < 1:
            raise ValueError(f"input_size must be at least 1: {self.input_size}")
        if self.phi is None and self.published is None:
            raise ValueError("a spec without phi needs the name of its published row")

    @property
    def spec_id(self) -> str:
        """`MODEL/STRATEGY/PHI`, unique in a run for one workload."""
        return spec_id(self.model, self.strategy, self.phi, self.published)

    @property
    def requested_growth(self) -> float:
        """Growth against the base that was asked for.

        MAC growth `depth · width² · resolution²`, or under `match` the budget `2^φ` of the matched metric.
        """
        if self.match and self.phi is not None:
            return float(2.0**self.phi)
        return self.depth * self.width**2 * self.resolution**2

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes two specs the same network: the family and its integers, or else its factors.

        A spec that could not be matched is a request without a network, and equal to nothing else.
        """
        if self.unmatched is not None:
            return (self.model, self.spec_id, "unmatched")
        if self.shape is None:
            factors = (self.depth, self.width, self.resolution, self.rounding, self.digest)
            return (self.model, self.input_size, self.input_unit, factors)
        integers = tuple(
            (key, tuple(value) if isinstance(value, (list, tuple)) else value)
            for key, value in sorted(self.shape.items())
        )
        return (self.model, self.input_size, self.input_unit, integers)


class Workload(Value, frozen=True):
    """How a model is run: everything that a latency is meaningless without.

    `dtype`: what is computed in; by `cast`, either weights and inputs are cast to it, or torch casts at each
    operator (autocast) and weights stay fp32. `memory_format`: of weights and of four-dimensional inputs.
    `mode`: a forward pass, a training step of forward, backward and optimizer, or the pass of one new token a
    sample against a key–value cache of those before it.
    """

    device: Device
    batch_size: int = 1
    threads: int = 1
    dtype: DType = "fp32"
    mode: Mode = "infer"
    runtime: Runtime = "eager"
    memory_format: MemoryFormat = "contiguous"
    cast: Cast = "weights"

    def __post_init__(self) -> None:
        if self.dtype == "fp32" and self.cast != "weights":
            raise ValueError("nothing is cast in fp32: cast must be weights")
        if self.batch_size < 1 or self.threads < 1:
            raise ValueError(f"batch_size and threads must be at least 1: {self.batch_size}, {self.threads}")

    @property
    def on_cuda(self) -> bool:
        """Whether this runs on an NVIDIA GPU."""
        return self.device.startswith("cuda")
