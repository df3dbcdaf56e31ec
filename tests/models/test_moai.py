"""MoAI: the original's outputs, the checkpoint's shapes, and what r does."""

import dataclasses
import json
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor

from docs import moai as script
from r2t2 import models, reference
from r2t2.contract import Batch
from r2t2.engine import Engine
from r2t2.models import load_model
from r2t2.models.moai import quantise
from r2t2.models.moai.attention import Part, Place
from r2t2.models.moai.compressor import Compressor
from r2t2.models.moai.config import Config
from r2t2.models.moai.language import Language, Mix
from r2t2.models.moai.mixer import Expert
from r2t2.models.moai.network import Network
from r2t2.models.moai.options import Options
from r2t2.models.moai.prompts import read_names, write_names
from r2t2.models.moai.tokens import Tokenizer
from r2t2.models.moai.vision import Tower, map_pixels, pixels
from r2t2.models.names import parse
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset, Sample

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden"
OPTIONS = "prompt=320&answer=6&choices=4"


def _golden(name):
    path = GOLDEN / name
    if not path.exists():
        assert not os.environ.get("CI"), f"{name} is missing, and CI must hold MoAI against it"
        pytest.skip(f"{name} is missing: MoAI is not held against the original here")
    return json.loads(path.read_text()) if path.suffix == ".json" else load_file(path)


@dataclass(frozen=True)
class Found:
    """As the real one's."""

    text: str
    panoptic: Image.Image | None
    ran: tuple[str, ...]


class Stub:
    """Stands in for the models that look at pictures: some find words, some a map as well."""

    notice, fingerprint = "A stub looks at pictures.", "stub"

    def __init__(self, switches, device, cache=None):
        self.switches = dict(switches)

    def __call__(self, images):
        return [
            Found("a dog and a cat"[: 3 + i % 9], image if i % 2 else None, ())
            for image, i in ((image, sum(image.getpixel((0, 0)))) for image in images)
        ]


@pytest.fixture(scope="module", autouse=True)
def stub():
    torch.set_num_threads(1)
    module = types.ModuleType("r2t2.models.moai.auxiliary")
    module.Auxiliary, module.Found = Stub, Found
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("moai")
    script.write(made, script.TINY)
    return made


@pytest.fixture(scope="module")
def exact(folder):
    return load_model(f"moai:{folder}?{OPTIONS}&dtype=float64", "cpu")


@pytest.fixture(scope="module")
def small(folder):
    return load_model(f"moai:{folder}?{OPTIONS}&dtype=float32", "cpu")


SAMPLES = [
    dataclasses.replace(sample, question=question, label=label, choices=choices)
    for sample, question, label, choices in zip(
        script.questions(4),
        ("who?", "what is this?", "which of them, and where?", "is it so?"),
        ("a dog", "red", "two", "no"),
        ((), ("red", "blue"), ("one", "two", "three"), ()),
        strict=True,
    )
]


def _moved(r, seed=0):
    noise = r * torch.randn(r.shape, generator=torch.Generator().manual_seed(seed)).exp().to(r)
    return noise / noise.sum(-1, keepdim=True)


def _labels(tokens):
    return tokens[tokens >= 0]


# Against the original.


class Original:
    """The golden model, its inputs, and what the original made of them."""

    def __init__(self):
        self.config = Config.of(_golden("moai_tiny_config.json"))
        self.io = _golden("moai_tiny_io.safetensors")
        parts = {"model": Language(self.config), "moai_compressor": Compressor(self.config)}
        self.network = torch.nn.ModuleDict(parts).requires_grad_(False)
        self.network.load_state_dict(_golden("moai_tiny_weights.safetensors"))
        self.image, self.language = (Part.of(self.io[f"{of}_mask"]) for of in ("im", "lang"))

    def run(self):
        io, model = self.io, self.network["model"]
        mix = Mix(self.image, self.language, io["aux_compressed"])
        real, layers = io["attention_mask"].bool(), range(self.config.num_hidden_layers)
        return model(io["inputs_embeds"], layers, real, io["im_mask"], mix, states=True)

    def states(self, passed):
        *inner, last = passed.states
        return [*inner, self.network["model"].norm(last)]

    def errors(self, passed):
        states = enumerate(self.states(passed), 1)
        return [float((x - self.io[f"hidden_states.{i}"]).abs().max()) for i, x in states]


@pytest.fixture(scope="module")
def original():
    return Original()


def test_every_layer_gives_what_the_original_gave(original):
    assert max(original.errors(original.run())) < 1e-3


def test_what_is_left_of_a_difference_is_the_originals_rounding_of_gates(original, monkeypatch):
    plain = torch.Tensor.softmax

    def rounded(logits, dim):
        return plain(logits, dim, dtype=torch.float16)

    monkeypatch.setattr(torch.Tensor, "softmax", rounded)
    assert max(original.errors(original.run())) < 2e-5


def test_a_padded_row_gives_what_it_gives_alone(original):
    io, model = original.io, original.network["model"]
    together = original.run()
    for row in range(2):
        there = io["attention_mask"][row].bool()
        x, image, language, real = (
            tensor[row, there][None]
            for tensor in (io["inputs_embeds"], io["im_mask"], io["lang_mask"], there.expand(2, -1))
        )
        mix = Mix(Part.of(image), Part.of(language), io["aux_compressed"][row : row + 1])
        alone = model(x, range(len(model.layers)), real, image, mix, states=True)
        for one, whole in zip(alone.states, together.states, strict=True):
            assert torch.allclose(one[0], whole[row, there], atol=1e-5)


def test_every_gate_gives_the_originals_logits(original):
    for layer, logits in zip(original.config.mixers, original.run().logits, strict=True):
        for kind, of, part in zip(
            ("img", "lang"), logits, (original.image, original.language), strict=True
        ):
            for i in range(2):
                expected = original.io[f"gate_logits.layers.{layer}.{kind}.sample{i}"]
                assert torch.allclose(of[i][part.kept[i]], expected, atol=1e-3)


def test_the_compressor_gives_what_the_original_gave(original):
    made = original.network["moai_compressor"](original.io["aux_embeds"])
    assert torch.allclose(made, original.io["aux_compressed"], atol=1e-5)


def test_the_full_size_has_every_tensor_of_the_checkpoint_and_no_other():
    expected = _golden("moai_state_dict.json")
    with torch.device("meta"):
        network = Network(Config())
    assert len(expected) == 1197
    assert {name: list(t.shape) for name, t in network.state_dict().items()} == expected


def test_words_of_the_prompt_are_the_checkpoints(small):
    expected = _golden("moai_prompts.json")
    turn = small.prompts.turn(SAMPLES[0])
    question = "who?\nAnswer the question using a single word or phrase."
    assert turn == expected["evaluation_turn"].format(prompt=question)
    tokens = small.prompts(SAMPLES[:1])[0]
    image = small.network.image
    system, picture = expected["system"].split("<image>")[0], tokens == image
    assert int(picture.sum()) == script.TINY.vision_config.tokens
    assert Config().vision_config.tokens == expected["image_tokens"]
    before = tokens[: int(picture.byte().argmax())]
    assert before[before >= 0].tolist() == [1, *small.prompts.tokenizer(system)]


# Parts.


def test_a_gathered_part_is_put_back_where_it_was():
    mask = torch.tensor([[0, 1, 1, 0, 1], [1, 0, 0, 0, 0]]).bool()
    part, x = Part.of(mask), torch.randn(2, 5, 3)
    assert torch.equal(part.put(x, part.take(x)), x)
    changed = part.put(x, part.take(x) + 1)
    assert torch.equal(changed, x + mask[..., None].float())


def test_an_expert_with_nothing_to_look_at_changes_nothing():
    expert, x = Expert(script.TINY), torch.randn(1, 3, 32)
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    assert torch.equal(expert(x, torch.randn(1, 4, 32), nothing), x)


def test_the_tower_gives_clips_last_layer_without_the_class_token():
    tower = Tower(script.TINY.vision_config).eval()
    clip, image = tower.vision_tower["vision_model"], torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        x = clip.pre_layrnorm(clip.embeddings(image))
        for layer in clip.encoder.layers:
            x = layer(x, None)
        assert torch.allclose(tower(image), x[:, 1:], atol=1e-6)


def test_pictures_and_maps_are_normalised_as_the_original_does():
    square = Image.new("RGB", (4, 4), (255, 0, 51))
    expected = [(value - m) / s for value, m, s in ((1.0, 0.48145466, 0.26862954),)]
    assert float(pixels([square], 2)[0, 0, 0, 0]) == pytest.approx(expected[0])
    faint = (1 / 255 - 0.48145466) / 0.26862954
    assert float(map_pixels([square], 2)[0, 0, 0, 0]) == pytest.approx(faint)


def test_rotary_angles_do_not_depend_on_padding():
    real = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]).bool()
    place = Place.of(script.TINY, real, None, 4, torch.float32)
    assert torch.equal(place.cos[0, :, 2:], place.cos[1, :, :2])


# Batches, answers, r.


def test_a_left_padded_batch_gives_what_its_samples_give_alone(small):
    together = small.encode(SAMPLES)
    target = small.target(SAMPLES)
    r = _moved(small.route(together))
    losses, answers = small.loss(together, target, r), small.answer(together, r)
    for i, sample in enumerate(SAMPLES):
        alone = small.encode([sample])
        for name, tensor in alone.tensors.items():
            padding = alone.tensors["prompts"][..., None] < 0 if name == "hidden" else False
            whole = together.tensors[name][i : i + 1]
            assert torch.allclose(
                tensor.double().masked_fill(torch.as_tensor(padding), 0),
                whole.double().masked_fill(torch.as_tensor(padding), 0),
                atol=1e-5,
            ), name
        loss = small.loss(alone, small.target([sample]), r[i : i + 1])
        assert float(loss) == pytest.approx(float(losses[i]), abs=1e-5)
        said = small.answer(alone, r[i : i + 1])
        assert said.texts == [answers.texts[i]]
        assert torch.allclose(
            said.probabilities[0],
            answers.probabilities[i][: said.probabilities.shape[1]],
            atol=1e-5,
        )


def _whole(model, sample, said, r=None):
    """Logits of one sample and what is said after it, in one pass through everything."""
    network, encoded = model.network, model.encode([sample])
    prompts = encoded.tensors["prompts"]
    prompts = prompts[:, prompts[0] >= 0]
    image = torch.cat([prompts[0] == network.image, torch.zeros(len(said), dtype=torch.bool)])
    count = prompts.shape[1]
    language = ~image & (torch.arange(len(image)) < count)
    x = network.model.tok_embeddings(torch.cat([prompts[0], said]).clamp_max(network.image))
    x[image] = network.vision_proj(encoded.tensors["vision"][0])
    shift = None
    if r is not None:
        shift = (r.log() - encoded.tensors["r0"].log()).view(1, -1, 2, 3)
    mix = Mix(Part.of(image[None]), Part.of(language[None]), encoded.tensors["aux"], shift)
    everything = range(len(network.model.layers))
    real = torch.ones(1, len(image), dtype=torch.bool)
    x = network.model(x[None], everything, real, image[None], mix).states[-1]
    return network.output(network.model.norm(x))[0, count - 1 :]


def test_the_loss_is_that_of_one_pass_through_everything(exact):
    encoded, target = exact.encode(SAMPLES), exact.target(SAMPLES)
    r = _moved(exact.route(encoded))
    losses = exact.loss(encoded, target, r)
    for i, sample in enumerate(SAMPLES):
        label = _labels(target.tensors["tokens"][i])
        log_p = _whole(exact, sample, label[:-1], r[i : i + 1]).log_softmax(-1)
        expected = -log_p[torch.arange(len(label)), label].mean()
        assert float(losses[i]) == pytest.approx(float(expected), abs=1e-9)


def test_a_label_is_scored_alike_whether_its_first_layers_are_known_or_not(exact):
    encoded, target = exact.encode(SAMPLES), exact.target(SAMPLES)
    r = _moved(exact.route(encoded))
    assert int((target.tensors["tokens"] >= 0).sum(1).max()) > 2
    fresh = Batch({"tokens": target.tensors["tokens"]})
    assert torch.allclose(exact.loss(encoded, fresh, r), exact.loss(encoded, target, r), atol=1e-9)


def test_the_cache_generates_what_whole_passes_generate(exact):
    sample = SAMPLES[0]
    encoded = exact.encode([sample])
    r = _moved(exact.route(encoded))
    tokens, log_p = exact._generate(encoded, r)
    said, logs = torch.zeros(0, dtype=torch.long), []
    for token in _labels(tokens[0]):
        log, best = _whole(exact, sample, said, r)[-1].log_softmax(-1).max(-1)
        assert best == token
        said, logs = torch.cat([said, best[None]]), [*logs, log]
    assert len(said) > 2
    assert float(log_p) == pytest.approx(float(torch.stack(logs).mean()), abs=1e-9)


def test_an_answers_own_loss_is_that_of_its_generation(exact):
    encoded = exact.encode(SAMPLES[:1])
    r = _moved(exact.route(encoded))
    tokens, log_p = exact._generate(encoded, r)
    loss = exact.loss(encoded, Batch({"tokens": tokens}), r)
    assert float(loss) == pytest.approx(-float(log_p), abs=1e-9)


def test_without_a_shift_no_bit_changes(small):
    encoded = small.encode(SAMPLES)
    target, r = small.target(SAMPLES), small.route(encoded)
    losses = small.loss(encoded, target, r)
    mix = small.network._mix
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small.network, "_mix", lambda encoded, r, more: mix(encoded, None, more))
        assert torch.equal(small.loss(encoded, target, r), losses)
        assert torch.equal(small.loss(encoded, target, _moved(r)), losses)
    assert not torch.equal(small.loss(encoded, target, _moved(r)), losses)


def test_r0_is_the_mean_of_the_gates_weights_over_a_prompts_tokens(exact):
    sample = SAMPLES[2]
    encoded, r0 = (made := exact.encode([sample])).tensors, exact.route(made)
    prompts = encoded["prompts"][:, encoded["prompts"][0] >= 0]
    image = prompts == exact.network.image
    mix = Mix(Part.of(image), Part.of(~image), encoded["aux"])
    hidden = encoded["hidden"][:, -prompts.shape[1] :]
    layers = range(1, 4)
    logits = exact.network.model(hidden, layers, torch.ones_like(image), image, mix).logits
    expected = torch.stack([gate[0].softmax(-1).mean(0) for both in logits for gate in both])
    assert torch.allclose(r0[0], expected, atol=1e-9)
    assert torch.allclose(r0.sum(-1), torch.ones(1, 4, dtype=r0.dtype))


def test_every_expert_of_every_site_can_be_moved_alone(exact):
    encoded, target = exact.encode(SAMPLES[2:3]), exact.target(SAMPLES[2:3])
    r = exact.route(encoded).requires_grad_()
    (gradient,) = torch.autograd.grad(exact.loss(encoded, target, r).sum(), r)
    assert gradient.shape == (1, 4, 3)
    assert (gradient != 0).all()


@pytest.mark.parametrize("recompute", [False, True])
def test_the_gradient_is_that_of_finite_differences(exact, recompute):
    encoded, target = exact.encode(SAMPLES), exact.target(SAMPLES)
    r0 = exact.route(encoded)
    r = r0.clone().requires_grad_()
    exact.network.model.recompute = recompute
    (gradient,) = torch.autograd.grad(exact.loss(encoded, target, r).sum(), r)
    exact.network.model.recompute = False
    along, step = r0 * torch.randn(r0.shape, generator=torch.Generator().manual_seed(2)), 1e-5
    ahead = exact.loss(encoded, target, r0 + step * along)
    behind = exact.loss(encoded, target, r0 - step * along)
    slope = (gradient * along).sum((1, 2))
    assert torch.allclose((ahead - behind) / (2 * step), slope, atol=1e-7, rtol=1e-5)


def test_choices_are_scored_by_their_letters_and_named_as_they_are(small):
    encoded = small.encode(SAMPLES)
    answers = small.answer(encoded, small.route(encoded))
    assert answers.candidates[2] == ("one", "two", "three")
    assert torch.allclose(answers.probabilities[1:3].sum(-1), torch.ones(2))
    choices = [dataclasses.replace(SAMPLES[2], label=choice) for choice in SAMPLES[2].choices]
    one = encoded[torch.tensor([2, 2, 2])]
    losses = small.loss(one, small.target(choices), small.route(one))
    assert torch.allclose((-losses).softmax(0), answers.probabilities[2], atol=1e-5)
    letters = small.target(choices).tensors["tokens"]
    assert [small.prompts.read(row) for row in letters] == ["A", "B", "C"]


def test_encodings_in_half_precision_are_kept_so(folder):
    model = load_model(f"moai:{folder}?{OPTIONS}&dtype=bfloat16", "cpu")
    encoded = model.encode(SAMPLES)
    assert {encoded.tensors[n].dtype for n in ("hidden", "vision", "aux")} == {torch.bfloat16}
    assert encoded.tensors["r0"].dtype == torch.float32
    r = model.route(encoded).requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(encoded, model.target(SAMPLES), r).sum(), r)
    assert gradient.isfinite().all()


def test_running_out_of_memory_halves_the_batch_and_goes_on(small):
    encoded, target = small.encode(SAMPLES), small.target(SAMPLES)
    r = small.route(encoded)
    whole, nll, rows = small.loss(encoded, target, r), small._nll, []

    def short(encoded, answers, r, owner):
        if len(encoded) > 1:
            raise torch.OutOfMemoryError("too much")
        rows.append(len(encoded))
        return nll(encoded, answers, r, owner)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "_nll", short)
        assert torch.allclose(small.loss(encoded, target, r), whole, atol=1e-5)
    small._batches.size = 64
    assert rows == [1, 1, 1, 1]


# Tokens and words.


def test_the_tokenizer_cuts_at_special_tokens_and_leaves_the_rest_to_sentencepiece(folder):
    pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokens = Tokenizer(folder)
    text = "what [UNUSED_TOKEN_146]user\nis it"
    assert tokens(text) == pieces.encode(text)
    assert pieces.piece_to_id("[UNUSED_TOKEN_146]") in tokens(text)
    assert tokens("a</s>b") == [*pieces.encode("a"), pieces.eos_id(), *pieces.encode("b")]
    assert tokens.read([1, *tokens(text), 2, 10**6]) == text
    assert tokens.stops == [2, 3, 4]


def test_special_tokens_that_the_files_name_are_known(folder, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    named = {"added_tokens_decoder": {"320": {"content": "[CUT]"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<image>": 400}))
    tokens = Tokenizer(tmp_path)
    assert tokens("a[CUT]b") == [*tokens("a"), 320, *tokens("b")]
    assert 400 not in tokens("an <image>")


def test_a_question_that_names_a_picture_adds_none(small):
    sample = dataclasses.replace(SAMPLES[0], question="an <image> of what?")
    prompts = small.prompts([sample])
    assert int((prompts == small.network.image).sum()) == script.TINY.vision_config.tokens


def test_an_answer_ends_where_the_next_turn_would_begin(small):
    numbers = small.prompts.tokenizer("red[UNUSED_TOKEN_145]\nblue")
    assert small.prompts.read(torch.tensor(numbers)) == "red"


def test_choices_of_any_script_are_kept_to_the_letter():
    samples = [Sample("1", "?", lambda: None, choices=("  Ünï  ", "日本")), Sample("2", "?", None)]
    assert read_names(write_names(samples, 4)) == [["  Ünï  ", "日本"], []]
    with pytest.raises(ValueError, match="sample 3 has not 1 to 1024 bytes"):
        write_names([Sample("3", "?", None, choices=("x" * 1025,))], 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "has no label"),
        ({"label": "a very long answer"}, "1 to 6"),
        ({"question": "why? " * 60}, "prompt=320"),
        ({"choices": tuple("abcde")}, "choices=4"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(small, change, message):
    sample = dataclasses.replace(SAMPLES[0], **change)
    with pytest.raises(ValueError, match=message):
        small.target([sample]) and small.encode([sample])


# Files, options, memory.


def test_files_of_either_kind_and_any_number_give_the_same_model(folder, small, tmp_path):
    weights = load_file(next(folder.glob("*.safetensors")))
    names = sorted(weights)
    for file in ("config.json", "tokenizer.model"):
        for kind in ("bin", "safetensors"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / file).write_bytes((folder / file).read_bytes())
    for i in range(3):
        part = {name: weights[name] for name in names[i::3]}
        torch.save(part, tmp_path / "bin" / f"pytorch_model-0000{i}-of-00003.bin")
        save_file(part, tmp_path / "safetensors" / f"model-0000{i}-of-00003.safetensors")
    encoded, target = small.encode(SAMPLES), small.target(SAMPLES)
    r = _moved(small.route(encoded))
    for kind in ("bin", "safetensors"):
        model = load_model(f"moai:{tmp_path / kind}?{OPTIONS}&dtype=float32", "cpu")
        assert torch.equal(
            model.loss(model.encode(SAMPLES), target, r), small.loss(encoded, target, r)
        )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("model.layers.1.attention.moai_GA_img.bias", None, "missing: model.layers.1.attention"),
        ("model.layers.0.attention.moai_GA_img.bias", (3,), "left over or of another shape"),
        ("vit.vision_tower.vision_model.embeddings.position_embedding.weight", (5, 16), r"\[5, 16"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(folder, tmp_path, name, shape, message):
    weights = load_file(next(folder.glob("*.safetensors")))
    weights.pop(name, None)
    if shape:
        weights[name] = torch.zeros(shape)
    for file in ("config.json", "tokenizer.model"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_model(f"moai:{tmp_path}?{OPTIONS}", "cpu")


def test_the_hubs_configuration_needs_no_word_of_what_is_moais_own():
    hub = {
        "architectures": ["MoAIModel"],
        "vocab_size": 92544,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "bias": False,
        "rope_theta": 1000000,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
        "rms_norm_eps": 1e-05,
        "torch_dtype": "float16",
        "pad_token_id": None,
    }
    assert Config.of(hub) == Config()
    assert Config.of(hub).mixers == (7, 15, 23, 31)
    newer = {key: value for key, value in hub.items() if key != "torch_dtype"}
    assert Config.of(newer | {"dtype": "bfloat16"}).torch_dtype == "bfloat16"


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"hidden_size": 30}', '{"torch_dtype": "int4"}']
)
def test_a_configuration_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="not the configuration of a MoAI"):
        Config.read(tmp_path)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("dtype=int4", "bfloat16"),
        ("quantise=2bit", "none, 8bit, 4bit"),
        ("prompt=1", "between 2"),
        ("choices=30", "between 1"),
        ("ocr=yes", "on or off"),
        ("recompute=no", "auto, on, off"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(query, message):
    with pytest.raises(ValueError, match=message):
        parse(f"moai?{query}", Options, "a/b")


def test_the_usual_checkpoint_needs_no_name():
    assert parse("moai?ocr=off", Options, "BK-Lee/MoAI-7B") == (
        "BK-Lee/MoAI-7B",
        Options(ocr=False),
    )


def test_quantising_without_bitsandbytes_says_what_to_install(folder, monkeypatch):
    def absent(name):
        raise ImportError("none here")

    monkeypatch.setattr(quantise, "import_module", absent)
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        load_model(f"moai:{folder}?quantise=4bit", "cpu")


@pytest.mark.parametrize(("how", "kind"), [("8bit", torch.int8), ("4bit", torch.uint8)])
def test_quantised_layers_say_nearly_the_same_and_have_a_gradient(tmp_path, how, kind):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is optional, and not installed here")
    wide = dataclasses.replace(script.TINY, hidden_size=128, intermediate_size=256)
    script.write(tmp_path, wide)
    losses = []
    for quantised in ("none", how):
        name = f"moai:{tmp_path}?{OPTIONS}&dtype=float32&quantise={quantised}"
        model = load_model(name, "cpu")
        encoded, target = model.encode(SAMPLES), model.target(SAMPLES)
        r = model.route(encoded).requires_grad_()
        losses.append(model.loss(encoded, target, r))
        (gradient,) = torch.autograd.grad(losses[-1].sum(), r, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.any()
    assert model.network.model.layers[0].feed_forward.w1.Plora_main.weight.dtype == kind
    assert 0 < (losses[0] - losses[1]).abs().max() < (0.5 if how == "8bit" else 2)


def test_memory_and_time_are_told_before_loading(small, folder, monkeypatch):
    told = small.estimate
    assert told.parameters == sum(weight.numel() for weight in small.network.parameters())
    tensors = small.encode(SAMPLES[:1]).tensors
    assert told.encoding == sum(tensors[name].nbytes for name in ("hidden", "vision", "aux"))
    monkeypatch.setattr("r2t2.models.moai.estimate.free_memory", lambda device: 10)
    with pytest.raises(MemoryError, match="do not fit"):
        load_model(small.name, "cpu")


def test_the_full_size_is_told_as_its_shapes_add_up():
    from r2t2.models.moai.estimate import estimate

    with torch.device("meta"):
        network = Network(Config())
    numbers = sum(weight.numel() for weight in network.parameters())
    half = estimate(Config(), network, Options(), "cpu")
    assert half.weights == 2 * numbers
    assert 13e6 < half.encoding < 17e6
    quarter = estimate(Config(), network, Options(quantise="4bit"), "cpu")
    assert quarter.weights < 0.45 * half.weights


def test_layers_are_recomputed_where_there_is_little_room(small, monkeypatch):
    assert not small.network.model.recompute
    assert small._batches.size == 64
    needed = small.estimate.weights + 3 * small.estimate.encoding
    monkeypatch.setattr("r2t2.models.moai.estimate.free_memory", lambda device: needed)
    tight = load_model(small.name, "cpu")
    assert tight.network.model.recompute
    assert tight._batches.size == 1
    assert not load_model(f"{small.name}&recompute=off", "cpu").network.model.recompute


def test_the_fingerprint_tells_weights_options_and_what_looks_apart(
    small, folder, tmp_path, monkeypatch
):
    assert load_model(small.name, "cpu").fingerprint == small.fingerprint
    other = small.name.replace("prompt=320", "prompt=321")
    assert load_model(other, "cpu").fingerprint != small.fingerprint
    script.write(tmp_path, script.TINY, seed=1)
    moved = small.name.replace(str(folder), str(tmp_path))
    assert load_model(moved, "cpu").fingerprint != small.fingerprint
    monkeypatch.setattr(Stub, "fingerprint", "another stub")
    assert load_model(small.name, "cpu").fingerprint != small.fingerprint


def test_sites_are_two_for_each_mixer_and_named_as_in_the_paper(small):
    names = [site.name for site in small.sites]
    assert names == ["layer 1 image", "layer 1 language", "layer 3 image", "layer 3 language"]
    assert small.experts == ("I_AUX", "I_LANG", "I_SELF", "L_AUX", "L_IMG", "L_SELF")


def test_the_notice_says_what_looks_at_pictures(small):
    assert small.notice.endswith("A stub looks at pictures.")
    assert small._auxiliary.switches == dict.fromkeys(small._auxiliary.switches, True)
    told = models.notice("moai:some/folder?ocr=off&scene_graph=off")
    assert told.endswith("Asked to look at pictures: segmentation, detection.")
    assert models.notice("moai").startswith("BK-Lee/MoAI-7B")
    assert "cannot be loaded: 'speed' is no option" in models.notice("moai?speed=high")


def test_what_was_found_reaches_the_answer(small, monkeypatch):
    with_words = small.encode(SAMPLES[:2])
    monkeypatch.setattr(Stub, "__call__", lambda self, images: [Found("", None, ())] * len(images))
    without = small.encode(SAMPLES[:2])
    assert torch.equal(with_words.tensors["hidden"], without.tensors["hidden"])
    assert not torch.allclose(with_words.tensors["r0"], without.tensors["r0"], atol=1e-3)


# All the way through.


def test_ngd_lowers_the_neighbours_loss(small):
    def make(position):
        label = ("yes", "no")[position % 2]
        question = f"is it so that {position} is {position + 1}?"
        sample = dataclasses.replace(SAMPLES[1], id=str(position), question=question, label=label)
        return dataclasses.replace(sample, choices=("yes", "no"))

    dataset = Dataset("so", 8, make)
    engine = Engine(small, reference.build(small, dataset, 0), dataset)
    setting = Setting("ngd", k=3, steps=3, learning_rate=0.01, references="all")
    done = engine.run(engine.prepare(dataset[:4]), setting)
    assert torch.equal(done.r[:, 0], small.route(small.encode(dataset[:4])))
    assert (done.objective[:, -1] < done.objective[:, 0]).all()
    assert done.answers[-1].probabilities.isfinite().all()


def test_the_script_of_measures_runs_at_a_tiny_size(folder):
    told = script.measured(folder, "cpu", 6, steps=1, options="prompt=320&answer=6")
    assert float(told["NGD / base, seconds"]) > 0
    assert "the paper: 6.8" in told["NGD / base, operations"]
