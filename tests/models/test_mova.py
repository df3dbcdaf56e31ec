"""MoVA of random weights and tiny size: its routing, its losses, its files, and the way through."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from r2t2 import reference
from r2t2.engine import Engine
from r2t2.models import available, choices, load_model, notice, quantise, weights
from r2t2.models.mova import prompts
from r2t2.models.mova.about import USUAL
from r2t2.models.mova.adapter import Shape
from r2t2.models.mova.network import Network
from r2t2.models.mova.options import Options
from r2t2.models.mova.prompts import IMAGE, LLAMA3, VICUNA
from r2t2.models.mova.routing import chosen, fewer, task
from r2t2.models.names import parse
from r2t2.prompts import ask
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset
from tests.models import mova

torch.set_num_threads(1)
SAMPLES = mova.samples()
OPTIONS = "prompt=400&answer=8&choices=4"
# What each sample is routed to in most tests; by its own replies a random model names few experts.
ROUTED = ["ACE", "G", "", "BDF", "EG", "ABCDEFG", "DE", "ACF"]


def _route(model):
    table = torch.stack([chosen(letters) for letters in ROUTED])
    model._coarse = lambda samples, base, text: table[[int(sample.id) for sample in samples]]
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mova")
    mova.save(made)
    return made


@pytest.fixture(scope="module")
def model(folder):
    return _route(load_model(f"mova:{folder}?{OPTIONS}", "cpu"))


@pytest.fixture(scope="module")
def exact(folder):
    made = _route(load_model(f"mova:{folder}?{OPTIONS}&dtype=float64", "cpu"))
    language = made.network.language
    for name, norm in [*language.named_modules()]:
        if isinstance(norm, LlamaRMSNorm):  # which computes in float32, whatever it is given
            new = nn.RMSNorm(len(norm.weight), norm.variance_epsilon, dtype=torch.float64)
            new.load_state_dict(norm.state_dict())
            language.set_submodule(name, new.requires_grad_(False))
    return made


@pytest.fixture(scope="module")
def encoded(model):
    return model.encode(SAMPLES)


def _moved(r0, seed=1):
    torch.manual_seed(seed)
    noise = r0 * torch.randn_like(r0).exp()
    return noise / noise.sum(-1, keepdim=True)


def _embedded(model, encoded, row, r, answer=()):
    """The language model's input for one sample, put together without padding or batch."""
    network = model.network
    picture = network.mix(encoded[row : row + 1], r[row : row + 1]).tokens[0]
    words = network.language.get_input_embeddings()
    ids = encoded.tensors["prompt"][row]
    first, last = (ids == IMAGE).nonzero()[[0, -1], 0].tolist()
    start = int((ids >= 0).int().argmax())
    parts = [
        words(ids[start:first]),
        picture,
        words(ids[last + 1 :]),
        words(torch.tensor(answer).long()),
    ]
    return torch.cat(parts)[None]


# Coarse routing.


@pytest.mark.parametrize(
    ("reply", "letters"),
    [
        ("A, C, G", "ACG"),
        ("none", ""),
        ("", ""),
        ("D", "D"),
        ("B,D,E,F", "BDE"),
        ("The models are A and B, or E", "ABE"),
    ],
)
def test_replies_are_read_as_the_authors_read_them(reply, letters):
    assert "".join(c for c, named in zip("ABCDEFG", chosen(reply), strict=True) if named) == letters


def test_the_pool_names_each_expert_by_its_letter():
    lines = task("why?").split("\n")
    assert [line[:3] for line in lines[2:9]] == [f"{letter}. " for letter in "ABCDEFG"]
    assert "biomedical" in lines[7]
    assert lines[9:] == ["", "Question:", "why?"]


def test_the_language_model_is_asked_with_few_tokens_of_the_plain_picture(folder):
    """Its replies are those that transformers generates from the base alone, one by one."""
    model = load_model(f"mova:{folder}?{OPTIONS}", "cpu")
    network, routed = model.network, model.encode(SAMPLES).tensors
    asked = model.prompts.routing(SAMPLES, 4)
    for row in range(len(SAMPLES)):
        nobody = torch.zeros(1, 7, dtype=torch.bool)
        base, text = routed["clip"][row : row + 1], routed["text"][row : row + 1]
        plain = network.adapter(base, [None] * 7, text, nobody).tokens
        ids = asked[row]
        embedded = network.language.get_input_embeddings()(ids.clamp_min(0))
        embedded[ids == IMAGE] = fewer(plain, 4)[0]
        embedded = embedded[ids != -2][None]
        out = network.language.generate(inputs_embeds=embedded, max_new_tokens=16, do_sample=False)
        reply = model.prompts.read(out[0])
        assert torch.equal(routed["coarse"][row], chosen(reply)), reply
    assert routed["coarse"].any()


def test_fewer_tokens_are_means_of_squares():
    tokens = torch.arange(16.0).view(1, 16, 1)
    assert fewer(tokens, 4).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


# What r is.


def test_r0_is_0_where_the_coarse_routing_left_an_expert_out(model, encoded):
    r0, coarse = model.route(encoded), encoded.tensors["coarse"]
    assert r0.shape == (8, 3, 7)
    torch.testing.assert_close(r0.sum(-1), torch.ones(8, 3))
    heard = coarse.any(-1)
    assert (r0[heard].movedim(1, 0)[:, ~coarse[heard]] == 0).all()
    assert (r0[heard].movedim(1, 0)[:, coarse[heard]] > 0).all()


def test_with_r0_no_bit_changes(model, encoded):
    plain, own = model.network.mix(encoded), model.network.mix(encoded, model.route(encoded))
    assert torch.equal(plain.tokens, own.tokens)
    assert not torch.equal(plain.tokens, model.network.mix(encoded, _moved(own.weights)).tokens)


def test_weight_on_an_expert_that_was_left_out_does_not_revive_it(model, encoded):
    r0 = model.route(encoded)
    r = _moved(r0)
    more = r + 0.5 * (~encoded.tensors["coarse"])[:, None]
    left = model.network.mix(encoded, r / r.sum(-1, keepdim=True))
    right = model.network.mix(encoded, more / more.sum(-1, keepdim=True))
    torch.testing.assert_close(left.tokens, right.tokens, atol=1e-5, rtol=0)


def test_in_the_first_block_r_is_what_the_gate_gives(model, encoded):
    """Later gates see what earlier ones changed, so there r shifts what they give by themselves."""
    r = _moved(model.route(encoded))
    heard = encoded.tensors["coarse"].any(-1)
    weights = model.network.mix(encoded, r).weights
    torch.testing.assert_close(weights[heard, 0], r[heard, 0], atol=1e-5, rtol=0)
    assert (weights[heard, 2] - r[heard, 2]).abs().max() > 1e-3


def test_a_sample_that_is_routed_to_none_does_not_depend_on_r(model, encoded):
    alone = encoded[2:3]
    r0 = model.route(alone)
    target = model.target(SAMPLES[2:3])
    assert torch.equal(model.loss(alone, target, r0), model.loss(alone, target, _moved(r0)))


def test_the_gradient_is_that_of_finite_differences(exact):
    # Sample 5 is routed to all seven, so its top three may change with r; they do not here.
    encoded, target = exact.encode(SAMPLES), exact.target(SAMPLES)
    r = _moved(exact.route(encoded)).requires_grad_()
    (gradient,) = torch.autograd.grad(exact.loss(encoded, target, r).sum(), r)
    assert (gradient[[1, 2]] == 0).all()  # routed to one expert alone, and to none
    assert gradient[[0, 3, 4, 5, 6, 7]].abs().amax((1, 2)).min() > 0
    torch.manual_seed(0)
    for _ in range(3):
        step = 1e-5 * r.detach() * torch.randn_like(r)
        ahead, behind = (exact.loss(encoded, target, r.detach() + d * step) for d in (1, -1))
        slope = (gradient * step).sum((1, 2))
        torch.testing.assert_close(slope, (ahead - behind) / 2, rtol=1e-4, atol=1e-11)


# Losses and answers.


def test_the_loss_is_the_language_models_own_of_the_labels_tokens(model, encoded):
    r, target = _moved(model.route(encoded)), model.target(SAMPLES)
    losses = model.loss(encoded, target, r)
    for row, tokens in enumerate(target.tensors["tokens"]):
        label = tokens[tokens >= 0].tolist()
        logits = model.network.language(
            inputs_embeds=_embedded(model, encoded, row, r, label)
        ).logits
        log_p = logits[0, -len(label) - 1 : -1].log_softmax(-1)
        expected = -log_p[torch.arange(len(label)), label].mean()
        torch.testing.assert_close(losses[row], expected, atol=1e-5, rtol=1e-5)


def test_batched_equals_one_by_one(model, encoded):
    r, target = _moved(model.route(encoded)), model.target(SAMPLES)
    losses, answers = model.loss(encoded, target, r), model.answer(encoded, r)
    for row, sample in enumerate(SAMPLES):
        one = model.encode([sample])
        torch.testing.assert_close(
            model.route(one)[0], model.route(encoded)[row], atol=1e-5, rtol=0
        )
        alone, own = r[row : row + 1], model.target([sample])
        torch.testing.assert_close(model.loss(one, own, alone)[0], losses[row], atol=1e-5, rtol=0)
        said = model.answer(one, alone)
        assert said.texts == answers.texts[row : row + 1]
        p = answers.probabilities[row, : said.probabilities.shape[1]]
        torch.testing.assert_close(said.probabilities[0], p, atol=1e-5, rtol=0)


def test_choices_are_scored_by_their_letters_and_answered_by_their_texts(model, encoded):
    r = model.route(encoded)
    answers = model.answer(encoded, r)
    assert answers.candidates[0] == SAMPLES[0].choices
    nll = torch.cat(
        [
            model.loss(encoded[:1], model.target([dataclasses.replace(SAMPLES[0], label=c)]), r[:1])
            for c in SAMPLES[0].choices
        ]
    )
    torch.testing.assert_close(answers.probabilities[0, :3], (-nll).softmax(-1), atol=1e-5, rtol=0)
    assert model.prompts.read(encoded.tensors["choices"][0, 1]) == "B"


def test_open_answers_are_those_of_transformers(model, encoded):
    r = _moved(model.route(encoded))
    answers = model.answer(encoded, r)
    for row in (2, 5):
        embedded = _embedded(model, encoded, row, r)
        out = model.network.language.generate(
            inputs_embeds=embedded, max_new_tokens=8, do_sample=False
        )
        assert answers.texts[row] == model.prompts.read(out[0])
        assert 0 < float(answers.probabilities[row, 0]) < 1


def test_a_label_that_is_missing_or_too_long_is_refused(model):
    with pytest.raises(ValueError, match="no label"):
        model.target([dataclasses.replace(SAMPLES[2], label=None)])
    with pytest.raises(ValueError, match="1 to 8"):
        model.target([dataclasses.replace(SAMPLES[2], label="much too long to say")])
    many = dataclasses.replace(SAMPLES[0], choices=tuple("abcde"))
    with pytest.raises(ValueError, match="choices=4"):
        model.encode([dataclasses.replace(many, id="0")])


def test_a_prompt_that_is_too_long_is_refused(model):
    with pytest.raises(ValueError, match="load it with more"):
        model.encode([dataclasses.replace(SAMPLES[0], question="why " * 200)])


def test_choices_survive_as_bytes():
    kept = choices.write(SAMPLES, 4)
    assert choices.read(kept) == [list(sample.choices) for sample in SAMPLES]
    other = dataclasses.replace(SAMPLES[0], choices=("ä — 猫", "x" * 1024))
    assert choices.read(choices.write([other], 2)) == [list(other.choices)]
    with pytest.raises(ValueError, match="1 to 1024"):
        choices.write([dataclasses.replace(other, choices=("x" * 1025,))], 2)


# Prompts.


def test_the_prompt_is_the_opening_the_picture_and_the_question(model):
    ids = model.prompts(SAMPLES[:1])[0]
    ids = ids[ids != -2]
    at = (ids == IMAGE).nonzero()[:, 0]
    assert len(at) == 16
    assert ids[0] == 1
    assert (ids == 1).sum() == 1  # the part after the picture has no start of its own
    spoken = "".join(model.prompts.tokenizer.convert_ids_to_tokens(ids[1 : at[0]].tolist()))
    assert spoken == VICUNA.opening.replace("'", "<unk>")
    rest = "".join(model.prompts.tokenizer.convert_ids_to_tokens(ids[at[-1] + 1 :].tolist()))
    assert rest == f"\n{ask(SAMPLES[0]).text}{VICUNA.closing}".replace("'", "<unk>")


def test_the_text_encoder_reads_the_question_in_lower_case(model):
    ids, mask = model.prompts.questions(SAMPLES)
    sample = dataclasses.replace(SAMPLES[0], question=SAMPLES[0].question.upper())
    again, _ = model.prompts.questions([sample])
    assert torch.equal(ids[0][mask[0] == 1], again[0])


def test_llama_3_is_known_by_its_tokenizer_and_spoken_to_its_own_way(tmp_path):
    mova.save(tmp_path, marks=True)
    prompts = load_model(f"mova:{tmp_path}?prompt=600", "cpu").prompts
    assert prompts.talk == LLAMA3
    assert prompts.stops.tolist() == [prompts.tokenizer.convert_tokens_to_ids("<|eot_id|>")]
    assert load_model(f"mova:{tmp_path}?talk=vicuna", "cpu").prompts.talk == VICUNA
    assert prompts.read(prompts.answer(SAMPLES[2], "yes")) == "yes"


# Files, dtypes, options.


def test_the_checkpoint_fills_every_weight(folder, model):
    made = mova.checkpoint()
    own = model.network.state_dict()
    assert torch.equal(own["language.lm_head.weight"], made["lm_head.weight"])
    qkv = made["model.vision_tower.vision_tower_6.trunk.blocks.1.attn.qkv.weight"]
    assert torch.equal(
        own["towers.biomedclip.network.layers.1.attention.k_proj.weight"], qkv[24:48]
    )
    assert not any(t.is_meta for t in (*model.network.parameters(), *model.network.buffers()))


def test_an_expert_without_weights_is_left_out_and_named(tmp_path):
    held = {n: t for n, t in mova.checkpoint().items() if "vision_tower_4" not in n}
    mova.save(tmp_path, weights=held)
    model = load_model(f"mova:{tmp_path}?{OPTIONS}", "cpu")
    assert "no weights of Pix2Struct:" in model.notice
    assert notice(model.name) == model.notice
    assert model.network.present.tolist() == [1, 1, 1, 0, 1, 1, 1]
    model.prompts.read = lambda tokens: "D, E"
    encoded = model.encode(SAMPLES[:2])
    assert encoded.tensors["coarse"].int().tolist() == [[0, 0, 0, 0, 1, 0, 0]] * 2
    assert "pix2struct" not in encoded.tensors
    assert model.answer(encoded, model.route(encoded)).probabilities.isfinite().all()


def test_an_expert_that_lacks_a_tensor_is_refused(tmp_path):
    held = mova.checkpoint()
    del held["model.vision_tower.vision_tower_3.out_norm.weight"]
    mova.save(tmp_path, weights=held)
    with pytest.raises(ValueError, match=r"missing: towers.codetr.network.out_norm.weight"):
        load_model(f"mova:{tmp_path}", "cpu")


@pytest.mark.parametrize("name", ["image_newline", "vision_tower.vision_tower_8.x"])
def test_a_tensor_that_has_no_place_is_refused(tmp_path, name):
    mova.save(tmp_path, weights={**mova.checkpoint(), f"model.{name}": torch.ones(32)})
    with pytest.raises(ValueError, match=rf"left over or of another shape: language.model.{name}"):
        load_model(f"mova:{tmp_path}", "cpu")


def test_a_configuration_that_is_damaged_is_refused(tmp_path):
    mova.save(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json .* damaged"):
        load_model(f"mova:{tmp_path}", "cpu")


def test_a_text_encoder_without_its_tokenizer_says_where_to_put_it(tmp_path, monkeypatch):
    mova.save(tmp_path)
    monkeypatch.setattr(prompts.AutoTokenizer, "from_pretrained", staticmethod(_only_here))
    for file in (tmp_path / "bert").iterdir():
        file.unlink()
    (tmp_path / "bert").rmdir()
    with pytest.raises(OSError, match="folder 'bert'"):
        load_model(f"mova:{tmp_path}", "cpu")


def _only_here(where, **options):
    if not Path(where).is_dir():
        raise OSError("no network")
    return mova.tokenizer()


def test_half_precision_keeps_half_and_changes_no_bit_without_a_shift(folder):
    model = _route(load_model(f"mova:{folder}?{OPTIONS}&dtype=bfloat16", "cpu"))
    encoded = model.encode(SAMPLES)
    assert encoded.tensors["clip"].dtype == encoded.tensors["sam"].dtype == torch.bfloat16
    r0 = model.route(encoded)
    assert r0.dtype == torch.float32
    plain, own = model.network.mix(encoded), model.network.mix(encoded, r0)
    assert torch.equal(plain.tokens, own.tokens)
    r = r0.clone().requires_grad_()
    loss = model.loss(encoded, model.target(SAMPLES), r)
    (gradient,) = torch.autograd.grad(loss.sum(), r)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("dtype=int4", "bfloat16"),
        ("quantise=2bit", "none, 8bit, 4bit"),
        ("talk=loud", "auto, vicuna, llama3"),
        ("prompt=1", "between 2"),
        ("choices=30", "between 1"),
        ("ocr=on", "no option"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(query, message):
    with pytest.raises(ValueError, match=message):
        parse(f"mova?{query}", Options, USUAL)


def test_quantising_without_bitsandbytes_says_what_to_install(folder, monkeypatch):
    def absent(name):
        raise ImportError("none here")

    monkeypatch.setattr(quantise, "import_module", absent)
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        load_model(f"mova:{folder}?quantise=4bit", "cpu")


@pytest.mark.parametrize("how", ["8bit", "4bit"])
def test_quantised_layers_say_nearly_the_same_and_have_a_gradient(tmp_path, how):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is optional, and not installed here")
    wide = {"hidden_size": 128, "intermediate_size": 128}
    held = mova.checkpoint(config=mova.CONFIG | wide)
    for name in held:  # as large weights of random layers would blow up what rounding changes
        held[name] *= 0.3 if name.startswith("model.layers.") else 1
    mova.save(tmp_path, weights=held, **wide)
    losses = []
    for kind in ("none", how):
        model = _route(load_model(f"mova:{tmp_path}?{OPTIONS}&quantise={kind}", "cpu"))
        encoded = model.encode(SAMPLES)
        r = model.route(encoded).requires_grad_()
        losses.append(model.loss(encoded, model.target(SAMPLES), r))
        (gradient,) = torch.autograd.grad(losses[-1].sum(), r, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    assert len(quantise.maps(model.network.language.model)) == 0
    assert (losses[0] - losses[1]).abs().mean() < 0.1 * losses[0].std()
    assert not torch.equal(*losses)


def test_memory_and_time_are_told_before_loading(model, encoded, folder, monkeypatch):
    told = model.estimate
    assert told.parameters == sum(weight.numel() for weight in model.network.parameters())
    assert told.active < told.parameters
    held = ("clip", "text", *(key for key in model.network.experts if key != "clip"))
    assert told.encoding == sum(encoded.tensors[key][0].nbytes for key in held)
    assert told.seconds(2) > told.seconds(1) > told.seconds(0) > 0
    monkeypatch.setattr("r2t2.models.mova.estimate.free_memory", lambda device: 1000)
    monkeypatch.setattr("r2t2.models.mova.model.tensors", None)
    with pytest.raises(MemoryError, match="do not fit"):
        load_model(f"mova:{folder}", "cpu")


def test_the_full_size_is_told_without_its_weights():
    from r2t2.models.mova.estimate import estimate

    config = {"vocab_size": 32000, "torch_dtype": "bfloat16", "image_aspect_ratio": "pad"}
    config |= {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
    with weights.weightless():
        network = Network(config, [f"model.vision_tower.vision_tower_{n}.x" for n in range(8)])
    assert network.adapter.shape == Shape()
    told = estimate(config, network, Options(), "cpu")
    assert 10e9 < told.parameters < 11e9
    assert told.weights == 2 * told.parameters
    assert 20 * 2**20 < told.encoding < 24 * 2**20


def test_the_fingerprint_tells_weights_and_options_apart(folder, model, tmp_path):
    mova.save(tmp_path, seed=1)
    assert load_model(f"mova:{tmp_path}?{OPTIONS}", "cpu").fingerprint != model.fingerprint
    assert load_model(model.name, "cpu").fingerprint == model.fingerprint
    assert load_model(model.name + "&talk=vicuna", "cpu").fingerprint != model.fingerprint


def test_it_is_offered_where_it_is_and_tells_what_it_is(folder, model, tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    (tmp_path / "models.txt").write_text(model.name)
    assert model.name in available()
    assert notice(model.name) == model.notice
    assert USUAL in notice("mova")
    assert [site.name for site in model.sites] == ["block 1", "block 2", "block 3"]
    assert model.experts == (
        ("DINOv2", "Vary", "Co-DETR", "Pix2Struct", "Deplot", "BiomedCLIP", "SAM")
    )


# All the way through.


def test_ngd_lowers_the_neighbours_loss(folder):
    model = _route(load_model(f"mova:{folder}?{OPTIONS}", "cpu"))
    dataset = Dataset("seen", 8, lambda i: SAMPLES[i])
    built = reference.build(model, dataset, 0)
    assert len(built) == 8
    assert 0 < len(built.correct) < 8
    engine = Engine(model, built, dataset)
    setting = Setting("ngd", k=3, steps=3, learning_rate=0.01, references="all")
    asked = [dataset[i] for i in (0, 3, 5)]  # which are routed to experts
    done = engine.run(engine.prepare(asked), setting)
    assert torch.equal(done.r[:, 0], model.route(model.encode(asked)))
    assert (done.objective[:, -1] < done.objective[:, 0]).all()
    assert done.answers[-1].probabilities.isfinite().all()


def test_transformers_takes_the_language_models_weights_as_they_are(folder, tmp_path, model):
    """The rest of the checkpoint is a Llama: nothing of it is renamed."""
    whole = mova.checkpoint()
    own = {n: t for n, t in whole.items() if "mm_projector" not in n and "vision_tower" not in n}
    save_file({n: t for n, t in own.items() if "inv_freq" not in n}, tmp_path / "model.safetensors")
    model.network.language.config.save_pretrained(tmp_path)
    plain = LlamaForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 20, 30, 40]])
    expected = plain(input_ids=ids).logits
    torch.testing.assert_close(model.network.language(input_ids=ids).logits, expected)
    assert isinstance(plain.lm_head, nn.Linear)
