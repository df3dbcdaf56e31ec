"""A tiny MoVA of random weights, saved under the names of the published checkpoint."""

from __future__ import annotations

import json
import re

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import processors
from torch import nn
from transformers import BertTokenizer

from r2t2.models.mova.network import Network
from r2t2.samples import Sample
from tests.models import families

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
CONFIG = {
    **families.SIZES,
    "model_type": "mova_llama",
    "architectures": ["MovaLlamaForCausalLM"],
    "num_hidden_layers": 2,
    "rope_theta": 10000.0,
    "torch_dtype": "float32",
    "mm_hidden_size": 32,
    "image_feat_size": 8,
    "expert_channels": [32, 16, 8, 32, 24, 24, 8],
    "num_projector_layers": 3,
    "topk_experts": 3,
    "num_routing_tokens": 4,
    "mm_vision_select_layer": -2,
    "image_aspect_ratio": "pad",
    "mm_projector_text_encoder": "bert-large-uncased",
    # What the published configuration leaves at the published sizes.
    "adapter": {"head_dim": 16},
    "text_encoder": {**TINY, "hidden_size": 16, "intermediate_size": 16, "vocab_size": 32},
    "vision_experts": {**VISION, "common": {"high": 64, "patches": 3}},
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


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
    old = {}
    for name, tensor in weights.items():
        for pattern, text in OLD.get(key, {}).items():
            name = re.sub(pattern, text, name)
        old.setdefault(name, []).append(tensor)
    return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in old.items()}


def tokenizer(marks=False):
    """One token a letter, a start before everything; with the marks of Llama 3 if asked for."""
    made = families.tokenizer()
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    if marks:
        made.add_special_tokens({"additional_special_tokens": ["<|eot_id|>"]})
    return made


def checkpoint(seed=0, config=CONFIG):
    """The weights of a random model under the names of the published checkpoint."""
    torch.manual_seed(seed)
    network = Network(config, [f"model.vision_tower.vision_tower_{n}.x" for n in range(8)])
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, 0, 0.15)
        elif "layer_scale" in name:
            nn.init.ones_(weight)
    for block in network.adapter.mixers:
        nn.init.normal_(block.gate[-1].weight, 0, 0.3)
        for attention in block.cross_attn:
            nn.init.normal_(attention.proj.weight, 0, 0.5)
    # So that its replies to the routing prompt name experts.
    named = [families.TOKENS[letter] for letter in "ABCDEFG,"]
    network.language.lm_head.weight.data[named] *= 4
    weights = {}
    for name, t in network.language.state_dict().items():
        weights[name] = t
    for name, t in network.adapter.state_dict().items():
        weights[f"model.mm_projector.{name}"] = t
    for key, tower in network.experts.items():
        for name, t in old_names(key, tower.network.state_dict()).items():
            weights[f"model.vision_tower.vision_tower_{tower.number}.{name}"] = t
    # What old checkpoints hold beside weights.
    weights["model.vision_tower.vision_tower_6.head.proj.weight"] = torch.ones(4, 24)
    weights["model.vision_tower.vision_tower_3.rope_win.freqs_cos"] = torch.ones(16, 16)
    positions = "embeddings.position_ids"
    weights[f"model.vision_tower.vision_tower_0.vision_model.{positions}"] = torch.arange(65)[None]
    weights[f"model.mm_projector.text_encoder.bert.{positions}"] = torch.arange(512)[None]
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    return {name: t.detach().clone().contiguous() for name, t in weights.items()}


def save(folder, seed=0, weights=None, marks=False, **changes):
    """A model's folder."""
    config = {**CONFIG, **changes}
    save_file(weights or checkpoint(seed, config), folder / "model.safetensors")
    tokenizer(marks).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "bert").mkdir(exist_ok=True)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    (folder / "vocab.txt").unlink()


def samples(count=8):
    """Questions of different lengths about different pictures, every third one open."""

    def picture(seed):
        draw = np.random.default_rng(seed)
        shape = (int(draw.integers(20, 60)), int(draw.integers(20, 60)), 3)
        return Image.fromarray(draw.integers(0, 256, shape, np.uint8))

    made = []
    for i in range(count):
        choices = () if i % 3 == 2 else ("a cat", "a dog", "none of both")
        label = "yes" if not choices else choices[i // 2 % 3]
        question = "what is it" + " that one sees here" * (i % 4)
        made.append(Sample(str(i), question, lambda i=i: picture(i), label=label, choices=choices))
    return made
