"""A tiny MoVA of random weights, saved under the names of the published checkpoint."""

from __future__ import annotations

import re

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {
    "clip": {**TINY, "intermediate_size": 32},
    "dinov2": {**TINY, "image_size": 42, "use_swiglu_ffn": True},
    "vary": {**TINY, "image_size": 64, "window_size": 3, "global_attn_indexes": [1]}
    | {"output_channels": 8, "halved_channels": 16},
    "codetr": {
        **TINY,
        "image_size": 80,
        "window_size": 4,
        "every": 2,
        "output_channels": 8,
        "out": 3,
    },
    "pix2struct": {**TINY, "d_ff": 32, "d_kv": 16},
    "deplot": {**TINY, "hidden_size": 24, "d_ff": 32, "d_kv": 12},
    "biomedclip": {**TINY, "hidden_size": 24, "intermediate_size": 32, "image_size": 32},
    "sam": {**TINY, "image_size": 64, "window_size": 3, "global_attn_indexes": [1]}
    | {"output_channels": 8},
}


# What the networks of today call as the checkpoint does not, from new to old.
OLD = {
    "clip": {r"^": "vision_model."},
    "dinov2": {
        r"attention\.q_proj": "attention.attention.query",
        r"attention\.k_proj": "attention.attention.key",
        r"attention\.v_proj": "attention.attention.value",
        r"attention\.o_proj": "attention.output.dense",
        r"mlp\.down_proj": "mlp.weights_out",
        r"mlp\.(gate|up)_proj": "mlp.weights_in",
    },
    "biomedclip": {
        r"^embeddings\.cls_token": "cls_token",
        r"^embeddings\.position_embeddings": "pos_embed",
        r"^embeddings\.patch_embeddings\.projection": "patch_embed.proj",
        r"^layers\.": "blocks.",
        r"layernorm_before": "norm1",
        r"layernorm_after": "norm2",
        r"attention\.[qkv]_proj": "attn.qkv",
        r"attention\.o_proj": "attn.proj",
        r"^layernorm\.": "norm.",
        r"^": "trunk.",
    },
    "sam": {
        r"^patch_embed\.projection": "patch_embed.proj",
        r"^layers\.": "blocks.",
        r"layer_norm([12])\.": r"norm\1.",
        r"^neck\.conv1": "neck.0",
        r"^neck\.norm1": "neck.1",
        r"^neck\.conv2": "neck.2",
        r"^neck\.norm2": "neck.3",
    },
}


def old_names(key, weights):
    """An expert's weights as the checkpoint holds them; those of one old name are one tensor."""
    import torch

    old = {}
    for name, tensor in weights.items():
        for pattern, text in OLD.get(key, {}).items():
            name = re.sub(pattern, text, name)
        old.setdefault(name, []).append(tensor)
    return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in old.items()}
