"""Measures MoAI with random weights: `python -m docs.moai` on a GPU, `--tiny` anywhere.

Makes a checkpoint of the size of MoAI-7B in a temporary folder (about 17 GB; weights are random,
so no answer means anything), loads it as a user would, builds a reference set and fits its losses,
and prints memory, seconds and operations of the base model, of NGD (k = 5, 10 steps) and of
amortised NGD, beside the paper's 6.8, and what share of the device's ceiling they reach: of the
operations per second that a product of large square matrices has on it.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from r2t2 import reference
from r2t2.engine import Engine
from r2t2.estimate import size
from r2t2.fitted import fit
from r2t2.models import load_model, resolve_device
from r2t2.models.moai.config import Config, Resampler, Vision
from r2t2.models.moai.network import Network
from r2t2.models.moai.options import AUXILIARY
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset, Sample

PAPER = 6.8  # of NGD's operations to the base model's (its table 4)
TINY = Config(
    vocab_size=400,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    plora_rank=8,
    plora_alpha=16,
    moai_lora_rank=8,
    moai_heads=2,
    moai_every=2,
    torch_dtype="float32",
    resampler=Resampler(depth=2, dim_head=8, heads=2, num_latents=6),
    vision_config=Vision(16, 32, 2, 2, 28, 7),
)
SHARD = 4 << 30
MARKS = ("[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]")
WORDS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .?:,[]"


def write(folder: Path, config: Config, seed: int = 0, device: str = "cpu") -> None:
    """A checkpoint of random weights, in the files of which the hub's consists."""
    generator = torch.Generator(device).manual_seed(seed)
    kind = getattr(torch, config.torch_dtype)
    with torch.device("meta"):
        places = Network(config).state_dict()
    shard: dict[str, Tensor] = {}
    count = 0
    for name, place in places.items():
        shard[name] = _random(name, place, generator).to("cpu", kind)
        if sum(t.nbytes for t in shard.values()) > SHARD or name == list(places)[-1]:
            count += 1
            save_file(shard, folder / f"model-{count:05}.safetensors")
            shard = {}
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    (folder / "tokenizer.model").write_bytes(tokenizer())


def tokenizer() -> bytes:
    """A sentencepiece model of letters, with the marks of a turn as InternLM2's has them."""
    made = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 4),
        model_writer=made,
        model_type="bpe",
        vocab_size=380,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        byte_fallback=True,
        user_defined_symbols=list(MARKS),
        minloglevel=2,
    )
    return made.getvalue()


def _random(name: str, place: Tensor, generator: torch.Generator) -> Tensor:
    made = torch.randn(place.shape, generator=generator, device=generator.device)
    if place.dim() < 2:
        return 0.1 * made + (1 if "norm" in name and name.endswith("weight") else 0)
    if "embedding" in name or name.endswith("latents"):
        return made
    # Gates that differ from token to token, so that there is something to re-route.
    return made * (3 if "moai_GA" in name else 1) * place[0].numel() ** -0.5


def questions(count: int) -> Dataset:
    """Questions about noise, every other one with choices; those with one are answered right."""

    def make(i: int) -> Sample:
        noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        choices = ("a dog", "red", "two")[: 1 + i % 3] if i % 2 else ()
        return Sample(
            f"noise-{i}",
            f"what is it that number {i} has?",
            lambda: Image.fromarray(noise),
            label="a dog" if i % 4 else "red",
            choices=choices,
        )

    return Dataset("noise", count, make)


def main() -> None:
    """Make, load, measure, print."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--tiny", action="store_true", help="a tiny model, on any device")
    ask.add_argument("--device", default="auto")
    ask.add_argument("--samples", type=int, default=8, help="of the benchmark; as many references")
    ask.add_argument("--options", default="", help="further options, such as recompute=on")
    asked = ask.parse_args()
    device = resolve_device(asked.device)
    if not asked.tiny and not device.startswith("cuda"):
        ask.error("the full size needs a CUDA device; --tiny runs anywhere")
    config = TINY if asked.tiny else Config(torch_dtype="bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), config, device=device)
        told = measured(Path(folder), device, asked.samples, options=asked.options)
    for name, value in told.items():
        print(f"{name:<30}{value}")


def measured(
    folder: Path, device: str, count: int, steps: int = 10, options: str = ""
) -> dict[str, str]:
    """What a model in a folder takes, in words; times and operations are a sample's."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    off = "&".join(f"{name}=off" for name in AUXILIARY)
    started = time.perf_counter()
    model = load_model(f"moai:{folder}?{off}&{options}", device)
    loaded = time.perf_counter() - started
    told = getattr(model, "estimate").report  # noqa: B009 (the contract has none)
    weights = _peak(device)
    dataset = questions(2 * count)
    engine = Engine(model, reference.build(model, dataset.head(count), 0), dataset.head(count))
    engine.everything("all")  # the references are encoded once, for all that follows
    samples = [dataset[i] for i in range(count, 2 * count)]
    setting = Setting("ngd", k=5, steps=steps, references="all")
    base, base_operations = _timed(
        device, lambda: engine.run(engine.prepare(samples), Setting("base"))
    )
    ngd, ngd_operations = _timed(
        device, lambda: engine.run(engine.prepare(samples), setting, False)
    )
    engine.fitted = fit(model, engine.reference, *engine.everything("all"), count=8)
    fitted = replace(setting, losses="fitted")
    amortised, _ = _timed(device, lambda: engine.run(engine.prepare(samples), fitted, False))
    ceiling = _ceiling(device)
    kept = sum(tensor.nbytes for tensor in model.encode(samples[:1]).tensors.values())
    return {
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "told before loading": told,
        "loaded in": f"{loaded:.1f} s",
        "memory after loading": weights,
        "memory at most": _peak(device),
        "kept of an encoded sample": size(kept),
        "base": f"{base / count:.3f} s and {base_operations / count:.3g} operations",
        f"NGD ({steps} steps)": f"{ngd / count:.3f} s and {ngd_operations / count:.3g} operations",
        "NGD / base, seconds": f"{ngd / base:.1f}",
        "amortised NGD / base, seconds": f"{amortised / base:.1f} (8 routings of each reference: "
        f"{engine.fitted.built['seconds']:.1f} s)",
        "NGD / base, operations": f"{ngd_operations / base_operations:.1f} (the paper: {PAPER})",
        "ceiling": f"{ceiling:.3g} operations/s",
        "share of it, base": f"{base_operations / base / ceiling:.1%}",
        "share of it, NGD": f"{ngd_operations / ngd / ceiling:.1%}",
    }


def _timed(device: str, work) -> tuple[float, int]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    settle = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    work()  # once, so that nothing is set up while it is timed
    settle()
    started = time.perf_counter()
    work()
    settle()
    seconds = time.perf_counter() - started
    with FlopCounterMode(display=False) as counter:
        work()
    return seconds, counter.get_total_flops()


def _ceiling(device: str) -> float:
    """Operations per second of a product of square matrices: what dense layers could reach."""
    cuda = device.startswith("cuda")
    width, kind = (8192, torch.bfloat16) if cuda else (1024, torch.float32)
    square = torch.randn(width, width, device=device, dtype=kind)
    seconds, operations = _timed(device, lambda: [square @ square for _ in range(10)])
    return operations / seconds


def _peak(device: str) -> str:
    if not device.startswith("cuda"):
        return "not measured on this device"
    return size(torch.cuda.max_memory_allocated())


if __name__ == "__main__":
    main()
