"""Ten small networks of the `transformers` library, and their MACs in plain integer arithmetic.

Derived from the papers and the library's definitions; nothing here runs a network or knows scaleprof. A MAC
is a multiply-add of a convolution, a linear layer or a matrix product; attention computes the full square of
scores, though half of them be masked. A form reads integers of the configuration and of the inputs, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TOKENS = 12


@dataclass(frozen=True)
class Network:
    """A class of the library, the fields of its configuration, its inputs, and the MACs of one pass.

    Attributes:
        inputs: shapes by name; tokens, whose names have `ids`, are whole numbers.
        macs: from the configuration.
    """

    model: str
    config: str
    fields: Mapping[str, Any]
    inputs: Mapping[str, tuple[int, ...]]
    macs: Callable[[Any], int]


def attention(
    queries: int, keys: int, width: int, *, heads: int, head: int, key_heads: int, key_width: int = 0
) -> int:
    """Four projections, and two products for each query, key and head; queries may share keys' heads."""
    projections = 2 * queries * width * heads * head + 2 * keys * (key_width or width) * key_heads * head
    return projections + 2 * heads * queries * keys * head


def plain_attention(queries: int, keys: int, width: int) -> int:
    """Heads that split the width among them: how many they are changes nothing."""
    return attention(queries, keys, width, heads=1, head=width, key_heads=1)


def mlp(tokens: int, width: int, hidden: int, *, gated: bool = False) -> int:
    """Two linear layers, or three where one is a gate."""
    return (3 if gated else 2) * tokens * width * hidden


def bert(config: Any) -> int:
    """Devlin et al. 2019; the pooler is a linear layer on the first token."""
    width = config.hidden_size
    layer = plain_attention(TOKENS, TOKENS, width) + mlp(TOKENS, width, config.intermediate_size)
    return config.num_hidden_layers * layer + width**2  # type: ignore[no-any-return]


def gpt2(config: Any) -> int:
    """Radford et al. 2019; the MLP is four times as wide, and the head is the table of embeddings."""
    width = config.n_embd
    layer = plain_attention(TOKENS, TOKENS, width) + mlp(TOKENS, width, 4 * width)
    return config.n_layer * layer + TOKENS * width * config.vocab_size  # type: ignore[no-any-return]


def llama_layer(config: Any) -> int:
    """Attention alone: rotary embeddings multiply element by element, which costs no MAC."""
    return attention(
        TOKENS,
        TOKENS,
        config.hidden_size,
        heads=config.num_attention_heads,
        head=config.hidden_size // config.num_attention_heads,
        key_heads=config.num_key_value_heads,
    )


def llama(config: Any) -> int:
    """Touvron et al. 2023: a gated MLP, and a head of its own."""
    width = config.hidden_size
    layer = llama_layer(config) + mlp(TOKENS, width, config.intermediate_size, gated=True)
    return config.num_hidden_layers * layer + TOKENS * width * config.vocab_size  # type: ignore[no-any-return]


def mixtral(config: Any) -> int:
    """Jiang et al. 2024: a router scores every expert, and each token takes the best few."""
    width = config.hidden_size
    router = TOKENS * width * config.num_local_experts
    experts = config.num_experts_per_tok * mlp(TOKENS, width, config.intermediate_size, gated=True)
    layer = llama_layer(config) + router + experts
    return config.num_hidden_layers * layer + TOKENS * width * config.vocab_size  # type: ignore[no-any-return]


SOURCE, TARGET = 10, 7


def t5(config: Any) -> int:
    """Raffel et al. 2020: heads need not split the width; biases of relative positions are looked up."""
    width, sizes = config.d_model, {"heads": config.num_heads, "head": config.d_kv}

    def attend(queries: int, keys: int) -> int:
        return attention(queries, keys, width, **sizes, key_heads=config.num_heads)

    encoder = attend(SOURCE, SOURCE) + mlp(SOURCE, width, config.d_ff)
    decoder = attend(TARGET, TARGET) + attend(TARGET, SOURCE) + mlp(TARGET, width, config.d_ff)
    head = TARGET * width * config.vocab_size
    return config.num_layers * encoder + config.num_decoder_layers * decoder + head  # type: ignore[no-any-return]


def vit_patches(config: Any) -> int:
    """How many patches an image has."""
    return (config.image_size // config.patch_size) ** 2  # type: ignore[no-any-return]


def vit_body(config: Any) -> int:
    """Patches and one more token through the layers."""
    width, patches = config.hidden_size, vit_patches(config)
    tokens = patches + 1
    embedding = patches * width * config.num_channels * config.patch_size**2
    layer = plain_attention(tokens, tokens, width) + mlp(tokens, width, config.intermediate_size)
    return embedding + config.num_hidden_layers * layer  # type: ignore[no-any-return]


def vit(config: Any) -> int:
    """Dosovitskiy et al. 2021: the class token alone is classified."""
    return vit_body(config) + config.hidden_size * config.num_labels  # type: ignore[no-any-return]


def swin(config: Any) -> int:
    """Liu et al. 2021: attention inside windows; sides are padded to whole windows before attention.

    After each stage but the last four neighbours become one token of twice the width.
    """
    side, width = config.image_size // config.patch_size, config.embed_dim
    macs = side**2 * width * config.num_channels * config.patch_size**2
    for stage, depth in enumerate(config.depths):
        window = min(config.window_size, side)
        windows = -(-side // window)
        in_windows = windows**2 * plain_attention(window**2, window**2, width)
        macs += depth * (in_windows + mlp(side**2, width, int(config.mlp_ratio * width)))
        if stage < len(config.depths) - 1:
            side = (side + 1) // 2
            macs += side**2 * 4 * width * 2 * width
            width *= 2
    return macs + width * config.num_labels  # type: ignore[no-any-return]


def whisper(config: Any) -> int:
    """Radford et al. 2022: two convolutions of three taps, the second of stride 2, before the layers."""
    width, frames = config.d_model, config.max_source_positions
    stem = 2 * frames * 3 * config.num_mel_bins * width + frames * 3 * width * width
    encoder = plain_attention(frames, frames, width) + mlp(frames, width, config.encoder_ffn_dim)
    decoder = (
        plain_attention(TARGET, TARGET, width)
        + plain_attention(TARGET, frames, width)
        + mlp(TARGET, width, config.decoder_ffn_dim)
    )
    layers = config.encoder_layers * encoder + config.decoder_layers * decoder
    return stem + layers + TARGET * width * config.vocab_size  # type: ignore[no-any-return]


def mamba(config: Any) -> int:
    """Gu and Dao 2023, in plain torch, without kernels of its own.

    The scan itself multiplies element by element; of it, only the product of each state with C is a matrix
    product. The convolution is padded at both ends, and what hangs over is computed and then cut off.
    """
    width, inner = config.hidden_size, config.intermediate_size
    states, rank, taps = config.state_size, config.time_step_rank, config.conv_kernel
    into = TOKENS * width * 2 * inner
    convolution = (TOKENS + taps - 1) * inner * taps
    selection = TOKENS * inner * (rank + 2 * states) + TOKENS * rank * inner
    readout = TOKENS * inner * states
    out = TOKENS * inner * width
    layer = into + convolution + selection + readout + out
    return config.num_hidden_layers * layer + TOKENS * width * config.vocab_size  # type: ignore[no-any-return]


PAIRS = 3


def clip(config: Any) -> int:
    """Radford et al. 2021: as many texts as images, both projected, and every text scored by every image."""
    text, vision, shared = config.text_config, config.vision_config, config.projection_dim
    width = text.hidden_size
    layer = plain_attention(TOKENS, TOKENS, width) + mlp(TOKENS, width, text.intermediate_size)
    text_tower = text.num_hidden_layers * layer + width * shared
    vision_tower = vit_body(vision) + vision.hidden_size * shared
    return PAIRS * (text_tower + vision_tower) + PAIRS * PAIRS * shared  # type: ignore[no-any-return]


IDS = {"input_ids": (1, TOKENS)}
MIXTRAL_FIELDS = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 100,
}
MIXTRAL_MACS = 1_594_368
LLAMA_FIELDS = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 101,
    "max_position_embeddings": 32,
}

NETWORKS: dict[str, Network] = {
    "encoder": Network(
        "BertModel",
        "BertConfig",
        {
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 101,
            "max_position_embeddings": 32,
        },
        IDS,
        bert,
    ),
    "decoder": Network(
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            "n_embd": 48,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 32,
            "vocab_size": 101,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        IDS,
        gpt2,
    ),
    "encoder-decoder": Network(
        "T5ForConditionalGeneration",
        "T5Config",
        {
            "d_model": 48,
            "d_kv": 20,
            "d_ff": 80,
            "num_layers": 2,
            "num_decoder_layers": 3,
            "num_heads": 4,
            "vocab_size": 101,
        },
        {"input_ids": (1, SOURCE), "decoder_input_ids": (1, TARGET)},
        t5,
    ),
    "vision": Network(
        "ViTForImageClassification",
        "ViTConfig",
        {
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "num_labels": 9,
        },
        {"pixel_values": (1, 3, 32, 32)},
        vit,
    ),
    "windows": Network(
        "SwinForImageClassification",
        "SwinConfig",
        {
            "embed_dim": 16,
            "depths": [2, 2, 1],
            "num_heads": [2, 4, 8],
            "window_size": 3,  # the library takes no window above the last side
            "mlp_ratio": 2.0,
            "image_size": 40,  # sides 10, 5 and 3: two padded to whole windows, one to be merged
            "patch_size": 4,
            "num_labels": 9,
        },
        {"pixel_values": (1, 3, 40, 40)},
        swin,
    ),
    "grouped queries": Network(
        "LlamaForCausalLM", "LlamaConfig", LLAMA_FIELDS | {"num_key_value_heads": 2}, IDS, llama
    ),
    "experts": Network("MixtralForCausalLM", "MixtralConfig", MIXTRAL_FIELDS, IDS, mixtral),
    "speech": Network(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            "d_model": 48,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 80,
            "decoder_ffn_dim": 96,
            "num_mel_bins": 20,
            "max_source_positions": 25,
            "max_target_positions": 16,
            "vocab_size": 101,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        {"input_features": (1, 20, 50), "decoder_input_ids": (1, TARGET)},
        whisper,
    ),
    "state space": Network(
        "MambaForCausalLM",
        "MambaConfig",
        {
            "hidden_size": 48,
            "state_size": 6,
            "num_hidden_layers": 2,
            "conv_kernel": 4,
            "expand": 2,
            "time_step_rank": 5,
            "vocab_size": 101,
        },
        IDS,
        mamba,
    ),
    "two towers": Network(
        "CLIPModel",
        "CLIPConfig",
        {
            "text_config": {
                "hidden_size": 48,
                "intermediate_size": 80,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "vocab_size": 101,
                "max_position_embeddings": 16,
                "eos_token_id": 100,
            },
            "vision_config": {
                "hidden_size": 40,
                "intermediate_size": 72,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "image_size": 32,
                "patch_size": 8,
            },
            "projection_dim": 24,
        },
        {"input_ids": (PAIRS, TOKENS), "pixel_values": (PAIRS, 3, 32, 32)},
        clip,
    ),
}
