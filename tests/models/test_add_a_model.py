"""The model of docs/add-a-model.md: short, on the contract, and re-routed like any other."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
)

from docs import add_a_model
from docs.add_a_model import Eyes, PerToken
from r2t2 import models, reference
from r2t2.conformance import check
from r2t2.engine import Engine
from r2t2.models import FAMILIES, Family, load_model
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset, Sample
from tests.models import families

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
SOURCE = Path(add_a_model.__file__)
PAGE = SOURCE.with_name("add-a-model.md").read_text()
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 8}
SIDES = {"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}}
COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of two encoders and a language model, all tiny and random."""
    folder = tmp_path_factory.mktemp("eyes")
    torch.manual_seed(0)
    parts = {
        "clip": CLIPVisionModel(CLIPVisionConfig(**SMALL)),
        "dinov2": Dinov2Model(Dinov2Config(**SMALL)),
        "language": LlamaForCausalLM(LlamaConfig(**families.SIZES)),
    }
    for name, part in parts.items():
        for weight in part.parameters():
            nn.init.normal_(weight, 0, 0.3) if weight.dim() > 1 else None
        part.save_pretrained(folder / name)
    CLIPImageProcessorPil(**SIDES).save_pretrained(folder / "clip")
    BitImageProcessorPil(**SIDES).save_pretrained(folder / "dinov2")
    families.tokenizer().save_pretrained(folder / "language")
    shapes = {"project.0": (32, 32), "project.1": (32, 32), "gate": (2, 32)}
    mix = {f"{name}.weight": torch.randn(shape) / 3 for name, shape in shapes.items()}
    mix |= {f"{name}.bias": torch.randn(shape[0]) / 3 for name, shape in shapes.items()}
    save_file(mix, folder / "model.safetensors")
    config = {"encoders": ["clip", "dinov2"], "answers": [*COLOURS, "yes", "no"]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The line of the page that registers it, run as it stands."""
    (line,) = re.findall(r'^    "eyes": (Family\(.+\)),$', PAGE, re.MULTILINE)
    monkeypatch.setitem(FAMILIES, "eyes", eval(line, {"Family": Family}))
    monkeypatch.setitem(FAMILIES, "eyes-per-token", Family("docs.add_a_model", "PerToken"))


@pytest.fixture(params=["eyes", "eyes-per-token"])
def model(request, folder):
    return load_model(f"{request.param}:{folder}", "cpu")


def dataset(size=16):
    def make(position):
        colour = COLOURS[position % 3]
        return Sample(
            id=str(position),
            question=f"what colour is picture {position}?",
            load_image=lambda: Image.new("RGB", (40, 30), colour),
            label=colour if position % 4 else "yes",
            choices=() if position % 4 else ("yes", "no"),
        )

    return Dataset("colours", size, make)


def test_the_model_has_fewer_than_100_lines():
    own = SOURCE.read_text().partition("\n\nclass PerToken")[0]
    assert own.rstrip().count("\n") + 1 < 100
    assert "class Eyes(RoutedModel)" in own


def test_the_page_shows_the_code_that_is_tested():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    own, _, per_token = SOURCE.read_text().partition("\n\nclass PerToken")
    assert own.rstrip() + "\n" in blocks
    assert "class PerToken" + per_token in blocks


def test_it_keeps_every_promise_of_the_contract(model):
    found = check(model, dataset(4)[:])
    assert len(found) > 9
    assert {one.promise: one.why for one in found if not one.kept} == {}


def test_its_own_routing_is_the_model_as_it_was_trained(folder):
    """The mixture written down once more, without r."""
    model, sample = Eyes(f"eyes:{folder}", "cpu"), dataset()[1]
    encoded = model.encode([sample])
    asked = torch.tensor(model.tokenizer.encode(f"{sample.question}\nAnswer:"))
    words = model.words(asked)
    share = (model.gate.weight @ words.mean(0) + model.gate.bias).softmax(0)
    seen = sum(p * eye for p, eye in zip(share, encoded.tensors["seen"][0], strict=True))
    label = torch.tensor(model.tokenizer.encode(sample.label))
    inputs = torch.cat([seen, words, model.words(label)])[None]
    # Padding lies between picture and question: where a token stands is counted with it.
    before = add_a_model.SEEN + add_a_model.ASKED - len(asked)
    positions = [*range(add_a_model.SEEN), *range(before, before + len(asked) + len(label))]
    logits = model.language(inputs_embeds=inputs, position_ids=torch.tensor([positions])).logits[0]
    log_p = logits[-len(label) - 1 : -1].log_softmax(-1)
    expected = -log_p[range(len(label)), label].mean()
    loss = model.loss(encoded, model.target([sample]), model.route(encoded))
    assert float(loss) == pytest.approx(float(expected), abs=1e-4)


def test_with_a_gate_per_token_the_models_own_r_shifts_nothing(folder):
    model = PerToken(f"eyes:{folder}", "cpu")
    encoded = model.encode(dataset(4)[:])
    weights = model._gates(encoded).softmax(-1)
    own = torch.einsum("bte,betw->btw", weights, encoded.tensors["seen"])
    assert torch.equal(model._mixed(encoded, model.route(encoded)), own)
    assert weights.std(1).max() > 1e-3, "the gates of different tokens are alike"
    off = torch.tensor([[[1.0, 0.0]]]).expand(4, 1, 2)
    assert torch.allclose(model._mixed(encoded, off), encoded.tensors["seen"][:, 0], atol=1e-3)


def test_ngd_re_routes_it(model):
    samples = dataset()
    engine = Engine(model, reference.build(model, samples, 0), samples)
    setting = Setting("ngd", k=3, steps=3, learning_rate=0.05, references="all")
    done = engine.run(engine.prepare(samples[:4]), setting)
    assert torch.equal(done.r[:, 0], model.route(model.encode(samples[:4])))
    assert (done.objective[:, -1] < done.objective[:, 0]).all()
    assert done.answers[0].texts[0] in ("yes", "no")


def test_it_is_offered_and_told_of_where_nothing_is_known_beforehand(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    name = f"eyes:{folder}"
    models.add(name)
    assert name in models.available()
    assert (models.sites(name), models.estimate(name), models.notice(name)) == ((), None, "")


def test_a_label_that_does_not_fit_is_refused(model):
    long = dataclasses.replace(dataset()[1], label="a very long answer indeed")
    with pytest.raises(ValueError, match="more than 16 tokens"):
        model.target([long])
