"""Tiny random models of many families of transformers, saved as their real ones are."""

from __future__ import annotations

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedTokenizerFast

from r2t2.models.sparse.estimate import auto_class
from r2t2.samples import Sample

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<img>", "<video>", "<in>", "</in>", "<vin>", "</vin>")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .?:,\n"
TOKENS = {token: i for i, token in enumerate((*SPECIAL, *LETTERS))}
CHAT = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<in><img></in>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}\n: "
)
GEMMA_CHAT = CHAT.replace("<in><img></in>", "<img>")
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {
    "vocab_size": len(TOKENS) + 4,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    **ENDS,
}
EIGHT = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
LOCAL = {"num_local_experts": 8, "num_experts_per_tok": 2}
GROUPED = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 16,
}
LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "head_dim": 4,
    "num_key_value_heads": 4,
}
LINEAR = {
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "shared_expert_intermediate_size": 16,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
}
MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "out_hidden_size": 32,
}
PICTURE = {"image_token_id": 4, "video_token_id": 5}
STARTS = {"vision_start_token_id": 6, "vision_end_token_id": 7}

# What differs from one family to the next; text only.
TEXT = {
    "olmoe": {**EIGHT, "norm_topk_prob": False},
    "qwen2_moe": {**EIGHT, "shared_expert_intermediate_size": 16},
    "qwen3_moe": {**EIGHT, "norm_topk_prob": True},
    "qwen3_next": {**EIGHT, **LINEAR},
    "mixtral": LOCAL,
    "gpt_oss": {**LOCAL, "head_dim": 8, "sliding_window": 16},
    "granitemoe": LOCAL,
    "phimoe": LOCAL,
    "jamba": {"num_experts": 8, "expert_layer_period": 1, "expert_layer_offset": 0}
    | {"attn_layer_period": 3, "attn_layer_offset": 2, "mamba_d_state": 4, "mamba_dt_rank": 4},
    "jetmoe": {**LOCAL, "kv_channels": 8},
    "deepseek_v2": {**GROUPED, **LATENT, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**GROUPED, **LATENT},
    "glm4_moe": {**GROUPED, "head_dim": 8},
    "minimax_m2": {**LOCAL, "head_dim": 8, "rotary_dim": 8},
    "ernie4_5_moe": {"moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": 16},
    "lfm2_moe": {**EIGHT, "layer_types": ["conv", "full_attention", "conv"]}
    | {"num_dense_layers": 1},
}

# The text part, the vision part, the rest, and how pictures are made into pixels.
SEEING = {
    "qwen3_vl_moe": (
        {**EIGHT, "rope_parameters": MROPE},
        {**VISION, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        {**PICTURE, **STARTS},
    ),
    "qwen3_5_moe": (
        {**EIGHT, **LINEAR, "rope_parameters": {**MROPE, "partial_rotary_factor": 1.0}},
        {**VISION, "num_position_embeddings": 64},
        {**PICTURE, **STARTS},
    ),
    "glm4v_moe": (
        {**GROUPED, "rope_parameters": {**MROPE, "partial_rotary_factor": 1.0}},
        {**VISION, "image_size": 32},
        {**PICTURE, "image_start_token_id": 6, "image_end_token_id": 7}
        | {"video_start_token_id": 8, "video_end_token_id": 9},
    ),
    "ernie4_5_vl_moe": (
        {"moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": [16, 16]}
        | {"rope_parameters": {**MROPE, "mrope_section": [1, 1, 2]}}
        | {"mlp_layer_types": ["dense", "sparse", "sparse"]},
        {**VISION, "temporal_merge_size": 2},
        {**PICTURE, "image_start_token_id": 6, "image_end_token_id": 7}
        | {"video_start_token_id": 8, "video_end_token_id": 9},
    ),
    "llama4": (
        {"num_local_experts": 8, "num_experts_per_tok": 2, "head_dim": 8}
        | {"intermediate_size_mlp": 48, "attention_chunk_size": 64},
        {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2}
        | {"num_attention_heads": 2, "image_size": 16, "patch_size": 4}
        | {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
        {"image_token_index": 4, "boi_token_index": 6, "eoi_token_index": 7},
    ),
    "aria": (
        {"moe_num_experts": 8, "moe_topk": 2, "moe_num_shared_experts": 1},
        {"model_type": "idefics3_vision", "hidden_size": 32, "intermediate_size": 32}
        | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 980, "patch_size": 140},
        {"image_token_index": 4, "projector_patch_to_query_dict": {49: 4}},
    ),
    "gemma4": (
        {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 16, "head_dim": 8}
        | {"enable_moe_block": True, "hidden_size_per_layer_input": 0, "sliding_window": 32}
        | {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
        | {"global_head_dim": 16},
        {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 16}
        | {"num_attention_heads": 2, "num_key_value_heads": 2, "patch_size": 4}
        | {"position_embedding_size": 64},
        {"image_token_id": 4, "video_token_id": 5, "audio_config": None}
        | {"boi_token_id": 6, "eoi_token_id": 7, "eos_token_id": 2},
    ),
}
FAMILIES = (*TEXT, *SEEING)


def config(family):
    """A configuration of the family's own class, with layers as small as they can be."""
    if family in TEXT:
        return CONFIG_MAPPING[family](**{**SIZES, **TEXT[family]})
    text, vision, rest = SEEING[family]
    return CONFIG_MAPPING[family](
        text_config={**SIZES, **text}, vision_config=vision, **{**ENDS, **rest}
    )


def tokenizer():
    """One token a letter; the last of the special ones are a picture's."""
    made = Tokenizer(models.WordLevel(TOKENS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.decoder = decoders.Fuse()
    names = {"image_token": "<img>", "video_token": "<video>", "boi_token": "<in>"}
    names |= {"eoi_token": "</in>", "image_start_token": "<in>", "image_end_token": "</in>"}
    names |= {"video_start_token": "<vin>", "video_end_token": "</vin>"}
    names |= {"audio_token": "<video>", "boa_token": "<vin>", "eoa_token": "</vin>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=names,
    )


def save(family, folder, seed=0):
    """A model of random weights in a folder, as `from_pretrained` wants it; returns it as well."""
    torch.manual_seed(seed)
    made = config(family)
    network = auto_class(made).from_config(made).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, 0, 0.3 if "gate.weight" in name else 0.15)
    network.save_pretrained(folder)
    # A processor without videos cannot be saved: whoever loads it is given it (`test_sparse.py`).
    (processor(family) if family == "aria" else tokenizer()).save_pretrained(folder)
    return network


def processor(family):
    """The family's own processor, but for videos, which transformers has no way of without
    torchvision; Llama 4's, which needs it for pictures as well, is stood in for."""
    pixels = {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 1024}}
    name, pictures, options = {
        "qwen3_vl_moe": ("Qwen3VLProcessor", "Qwen2VLImageProcessorPil", pixels),
        "qwen3_5_moe": ("Qwen3VLProcessor", "Qwen2VLImageProcessorPil", pixels),
        "glm4v_moe": ("Glm4vProcessor", "Glm4vImageProcessorPil", pixels),
        "ernie4_5_vl_moe": ("Ernie4_5_VLMoeProcessor", "Ernie4_5_VLMoeImageProcessorPil", pixels),
        "aria": ("AriaProcessor", "AriaImageProcessorPil", {}),
        "gemma4": ("Gemma4Processor", "Gemma4ImageProcessorPil", {"patch_size": 4}),
        "llama4": (None, None, None),
    }[family]
    if name is None:
        return Tiles(tokenizer())
    if family == "gemma4":
        options = {**options, "max_soft_tokens": 70}
    parts = {"image_processor": getattr(transformers, pictures)(**options)}
    parts |= {"tokenizer": tokenizer(), "chat_template": CHAT}
    if family == "aria":
        return transformers.AriaProcessor(**parts, size_conversion={980: 4})
    if family == "gemma4":
        parts |= {"feature_extractor": None, "chat_template": GEMMA_CHAT}

    class Stills(getattr(transformers, name)):
        def check_argument_for_proper_class(self, argument_name, argument):
            return argument is None or super().check_argument_for_proper_class(
                argument_name, argument
            )

    return Stills(**parts, video_processor=None)


class Tiles:
    """Pictures as one tile of 16 x 16 pixels each, four tokens in the prompt."""

    chat_template = CHAT
    image_token = "<img>"

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def apply_chat_template(self, talk, **options):
        parts = [part.get("text", "<in><img></in>") for part in talk[0]["content"]]
        return "".join(parts) + "\n: "

    def __call__(self, text, images, **options):
        inputs = self.tokenizer([line.replace("<img>", 4 * "<img>") for line in text], **options)
        tiles = [np.asarray(picture.resize((16, 16))) for (picture,) in images]
        pixels = torch.from_numpy(np.stack(tiles)).movedim(-1, 1) / 127.5 - 1
        return {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "pixel_values": pixels,
        }


def samples():
    """Four questions about pictures of one colour, two of them with choices."""

    def one(id, question, colour, label, choices=()):
        return Sample(id, question, lambda: Image.new("RGB", (16, 16), colour), label, choices)

    return [
        one("a", "what is it?", "red", "cat", ("cat", "a dog", "cow")),
        one("b", "why?", "blue", "it is"),
        one("c", "is it so or is it not so?", "green", "n", ("y", "n")),
        one("d", "how is it that it is so?", "white", "so"),
    ]
