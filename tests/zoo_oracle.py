"""Networks of timm, and what fvcore counts of them; nothing here knows scaleprof.

fvcore traces a run on real tensors, and its formulas are its own. Norms, pooling and the like, which it
counts and the literature does not, are left out. Where it has no formula for an operator that multiplies, the
network names the operator and brings its MACs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

PRODUCTS = frozenset({"conv", "linear", "matmul", "bmm", "einsum", "addmm", "mv"})
# Parts of the names of operators that multiply and add, were fvcore to know them or not.
MULTIPLIES = ("conv", "attention", "matmul", "mm", "linear", "einsum", "lstm", "gru", "rnn", "cdist", "dot")


@dataclass(frozen=True)
class Picture:
    """The side of a network's input in pixels, what it is made with, and what fvcore has no formula for."""

    px: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    def make(self, name: str, device: str) -> nn.Module:
        """The network, with weights on this device."""
        import timm

        with warnings.catch_warnings(), torch.device(device):
            warnings.simplefilter("ignore")  # timm's, of names that it has changed
            made: nn.Module = timm.create_model(name, **self.options)
            return made.eval()

    def images(self, device: str) -> torch.Tensor:
        """One image."""
        return torch.zeros(1, 3, self.px, self.px, device=device)


def sized(px: int, **options: Any) -> Picture:
    """A network that is made for a side."""
    return Picture(px, {"img_size": px, **options})


def fvcore_macs(picture: Picture, network: nn.Module) -> int:
    """MACs of a network with real weights, which is spent: its attention is no longer fused."""
    parts: Iterable[Any] = network.modules()
    for part in parts:
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # fvcore has no formula for the fused call
    logger = logging.getLogger("fvcore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which warns of its own end
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(network, (picture.images("cpu"),))
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counted = analysis.by_operator()
            unknown = {
                name for name in analysis.unsupported_ops() if any(word in name for word in MULTIPLIES)
            }
    finally:
        logger.setLevel(level)
    assert unknown == picture.unknown.keys()
    known = sum(int(macs) for name, macs in counted.items() if name in PRODUCTS)
    return known + sum(picture.unknown.values())


def sequencer_lstm_macs(px: int) -> int:
    """Tatsunami and Taki 2022, the small one: a block's two LSTMs, along rows and columns, both ways each.

    Patches of 7 pixels, then of 2; a token meets the weights of four gates, on itself and on the state.
    """
    side = px // 7
    sides, widths = (side, side // 2, side // 2, side // 2), (192, 384, 384, 384)
    stages = zip((4, 3, 8, 3), sides, widths, (48, 96, 96, 96), strict=True)
    return sum(
        blocks * side**2 * 2 * 2 * 4 * state * (width + state) for blocks, side, width, state in stages
    )


def convmixer_depthwise_macs(px: int) -> int:
    """Trockman and Kolter 2022: 32 depthwise convolutions of 7x7, padded to give back the side they take."""
    return 32 * (px // 7) ** 2 * 768 * 7**2


NETWORKS: dict[str, Picture] = {
    "resnet18": Picture(),
    "resnext26ts": Picture(),
    "densenet121": Picture(),
    "hrnet_w18_small": Picture(),
    "skresnet18": Picture(),  # kernels chosen by attention
    "repvgg_a0": Picture(),
    "nfnet_l0": Picture(),  # standardised weights
    "regnety_002": Picture(),
    "efficientnet_b0": Picture(),
    "mobilenetv3_small_050": Picture(),
    "ghostnet_050": Picture(),
    "convnext_atto": Picture(),
    "convmixer_768_32": Picture(unknown={"aten::_convolution_mode": convmixer_depthwise_macs(64)}),
    "fastvit_t8": Picture(),
    "mobilevit_xxs": Picture(),
    "edgenext_xx_small": Picture(),
    "lambda_resnet26t": Picture(),  # convolutions over positions, in three dimensions
    "bat_resnext26ts": Picture(256),  # bilinear attention
    "focalnet_tiny_srf": Picture(),
    "poolformer_s12": Picture(),
    "mixer_s32_224": sized(64),
    "sequencer2d_s": Picture(56, unknown={"aten::lstm": sequencer_lstm_macs(56)}),
    "vit_tiny_patch16_224": sized(64),
    "deit_tiny_distilled_patch16_224": sized(64),
    "eva02_tiny_patch14_224": sized(56),  # rotary positions
    "cait_xxs24_224": sized(64),
    "xcit_nano_12_p16_224": Picture(),  # attention between channels
    "levit_128s": Picture(224),
    "crossvit_tiny_240": sized(120),
    "volo_d1_224": sized(64),  # attention that is folded and unfolded
    "twins_svt_small": Picture(),
    "pvt_v2_b0": Picture(),
    "coat_lite_tiny": sized(64),
    "swin_tiny_patch4_window7_224": sized(112),
    "swinv2_cr_tiny_ns_224": sized(112),
    "maxvit_rmlp_pico_rw_256": sized(128),
    "davit_tiny": Picture(),
    "hiera_tiny_224": sized(64),
    "naflexvit_base_patch16_gap": Picture(options={"embed_dim": 64, "depth": 2, "num_heads": 4}),
}
