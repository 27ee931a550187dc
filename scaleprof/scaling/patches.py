"""How the costs of vision transformers grow: an image is a sequence of patches.

Tokens go with resolution². With d, w and r the factors, a layer's products cost `d·w²·r²` as a stack of
convolutions does. ViT attends to all tokens: `d·w·r⁴` beside them. Swin attends in windows of a fixed number
of patches (`d·w·r²`), and its merging layers, which no depth repeats, cost `w²·r²`. The patch embedding costs
`w·r²`, the head `w`. Biases, norms, the class token and the zeros that fill Swin's last windows are left
out.
"""

from __future__ import annotations

from scaleprof.scaling.sequences import (
    HEAD_CHANNELS,
    attending_activations,
    attending_macs,
    layer_outputs,
    layer_weights,
)
from scaleprof.scaling.theory import Law, Term

VIT_NAME = "vit_b_16"
SWIN_NAME = "swin_t"
CLASSES = 1000
IMAGE_CHANNELS = 3

# Dosovitskiy et al. 2021, table 1: ViT-Base; images of 224 px in patches of 16.
_VIT_LAYERS = 12
_VIT_CHANNELS = 768
_VIT_PATCH_PX = 16
_VIT_PATCHES = 14 * 14
# Liu et al. 2021, section 3.3: Swin-T; images of 224 px in patches of 4, windows of 7 × 7 of them.
_SWIN_BLOCKS = (2, 2, 6, 2)
_SWIN_CHANNELS = 96
_SWIN_HEAD_CHANNELS = 32
_SWIN_PATCH_PX = 4
_SWIN_PATCHES = 56 * 56
_SWIN_WINDOW = 7 * 7


def vit_law() -> Law:
    """ViT-B/16's law: an encoder over patches."""
    layers, h, patches = _VIT_LAYERS, _VIT_CHANNELS, _VIT_PATCHES
    tokens = patches + 1  # the class's
    embedding = IMAGE_CHANNELS * _VIT_PATCH_PX**2 * h
    return Law(
        macs=(
            *attending_macs(layers, h, tokens),
            Term(embedding * patches, 0, 1, 2),
            Term(CLASSES * h, 0, 1, 0),
        ),
        params=(
            Term(layer_weights(h) * layers, 1, 2, 0),
            Term(embedding + CLASSES * h, 0, 1, 0),
            Term(tokens * h, 0, 1, 2),
        ),
        activations=(
            *attending_activations(layers, h, tokens, h // HEAD_CHANNELS),
            Term(h * patches, 0, 1, 2),
            Term(CLASSES, 0, 0, 0),
        ),
    )


def swin_law() -> Law:
    """Swin-T's law: windows of a fixed size in four stages, each of half the side and twice the channels."""
    embedding = IMAGE_CHANNELS * _SWIN_PATCH_PX**2 * _SWIN_CHANNELS
    head = CLASSES * _SWIN_CHANNELS * 2 ** (len(_SWIN_BLOCKS) - 1)
    macs, params, activations = [], [], []
    for stage, blocks in enumerate(_SWIN_BLOCKS):
        h, patches = _SWIN_CHANNELS * 2**stage, _SWIN_PATCHES // 4**stage
        weights, scores = layer_weights(h), h // _SWIN_HEAD_CHANNELS * _SWIN_WINDOW
        macs += [
            Term(weights * patches * blocks, 1, 2, 2),
            Term(2 * h * _SWIN_WINDOW * patches * blocks, 1, 1, 2),
        ]
        params.append(Term(weights * blocks, 1, 2, 0))
        activations.append(Term((layer_outputs(h) + scores) * patches * blocks, 1, 1, 2))
        if stage:  # a merging layer makes h channels of the 2h that four patches have together
            macs.append(Term(2 * h * h * patches, 0, 2, 2))
            params.append(Term(2 * h * h, 0, 2, 0))
            activations.append(Term(h * patches, 0, 1, 2))
    return Law(
        macs=(*macs, Term(embedding * _SWIN_PATCHES, 0, 1, 2), Term(head, 0, 1, 0)),
        params=(*params, Term(embedding + head, 0, 1, 0)),
        activations=(
            *activations,
            Term(_SWIN_CHANNELS * _SWIN_PATCHES, 0, 1, 2),
            Term(CLASSES, 0, 0, 0),
        ),
    )
