"""Sparse mixtures of transformers: families at tiny size, options, memory, and the way through."""

import dataclasses
import subprocess
import sys

import pytest
import torch
import transformers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, SwitchTransformersConfig

from r2t2 import memory, models, reference
from r2t2.conformance import check
from r2t2.engine import Engine
from r2t2.models import available, batching, estimate, load_model, notice, sites, weights
from r2t2.models.logits import shift
from r2t2.models.names import parse, title
from r2t2.models.sparse import prompts
from r2t2.models.sparse.estimate import sees
from r2t2.models.sparse.model import Sparse
from r2t2.models.sparse.options import Options
from r2t2.models.sparse.routers import Hooks, add, find
from r2t2.rerouting.settings import Setting
from r2t2.samples import Dataset
from tests.models import families

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
SAMPLES = families.samples()
OPTIONS = "layers=all&experts=all&tokens=2&prompt=160&answer=8"


class Case:
    """A family's tiny model, as transformers made it and as it is loaded here in float64."""

    def __init__(self, family, folder):
        with pytest.MonkeyPatch.context() as patch:
            if family in families.SEEING and family != "aria":
                patch.setattr(prompts.AutoProcessor, "from_pretrained", _processor(family))
            self.raw = families.save(family, folder)
            self.model = Sparse(f"hf:{folder}?{OPTIONS}&dtype=float64")
        self.encoded = self.model.encode(SAMPLES)
        self.target = self.model.target(SAMPLES)
        self.r0 = self.model.route(self.encoded)
        torch.manual_seed(1)
        noise = self.r0 * torch.randn_like(self.r0).exp()
        self.moved = noise / noise.sum(-1, keepdim=True)

    @property
    def network(self):
        """The loaded model of transformers."""
        return self.model.network._network

    def inputs(self, sample, answer=None):
        """What transformers takes of a prompt and an answer, nothing padded."""
        made = self.model.prompts([sample])
        width, shape = int(made["attention_mask"].sum()), made["input_ids"].shape
        more = torch.zeros(1, 0, dtype=torch.long) if answer is None else answer[None]
        kept = {}
        for name, tensor in made.items():
            if tensor.shape == shape:
                fill = more if name == "input_ids" else (more >= 0) * (name == "attention_mask")
                tensor = torch.cat([tensor[:, -width:], fill.to(tensor.dtype)], 1)
            kept[name] = tensor.double() if tensor.is_floating_point() else tensor
        return kept


def _processor(family):
    return staticmethod(lambda folder, **options: families.processor(family))


@pytest.fixture(scope="module", params=families.FAMILIES)
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def olmoe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("olmoe")
    families.save("olmoe", folder)
    return folder


@pytest.fixture(scope="module")
def small(olmoe):
    return Sparse(f"hf:{olmoe}?layers=last2&experts=3&prompt=160&answer=8&dtype=float32")


def _tokens(row):
    return row[row >= 0]


# Every family.


def test_without_a_shift_no_bit_of_the_logits_changes(case):
    inputs = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in case.inputs(SAMPLES[0]).items()
    }
    hooks = Hooks(find(case.raw))
    r = torch.rand(1, len(case.model.sites), case.r0.shape[-1])
    with torch.no_grad():
        plain = case.raw(**inputs).logits
        with hooks.through(add(shift(r, r.clone(), 8))):
            assert torch.equal(case.raw(**inputs).logits, plain)
        with hooks.through(add(torch.randn_like(r))):
            assert not torch.equal(case.raw(**inputs).logits, plain)


def test_the_loss_is_the_models_own_of_the_labels_tokens(case):
    losses = case.model.loss(case.encoded, case.target, case.r0)
    for sample, tokens, loss in zip(SAMPLES, case.target.tensors["tokens"], losses, strict=True):
        label = _tokens(tokens)
        with torch.no_grad():
            logits = case.network(**case.inputs(sample, label)).logits[0]
        log_p = logits[-len(label) - 1 : -1].double().log_softmax(-1)
        expected = -log_p[torch.arange(len(label)), label].mean()
        assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_the_shift_reaches_the_last_tokens_and_no_others(case):
    """The same as shifting, in one pass over everything, the logits of these tokens alone."""
    losses = case.model.loss(case.encoded, case.target, case.moved)
    amount = shift(case.moved, case.r0, case.r0.shape[-1])
    for i, sample in enumerate(SAMPLES):
        label = _tokens(case.target.tensors["tokens"][i])
        inputs = case.inputs(sample, label)
        steered = torch.arange(inputs["input_ids"].shape[1], 0, -1) <= len(label) + 2

        def change(site, logits, own=amount[i], steered=steered):
            # Where a picture's tokens have a router of their own, only the others come here.
            here = steered[-(logits.numel() // logits.shape[-1]) :]
            late = own[site, : logits.shape[-1]] * here[:, None]
            return logits + late.view_as(logits).to(logits.dtype)

        with torch.no_grad(), case.model.network._hooks.through(change):
            logits = case.network(**inputs).logits[0]
        log_p = logits[-len(label) - 1 : -1].double().log_softmax(-1)
        expected = -log_p[torch.arange(len(label)), label].mean()
        assert float(losses[i]) == pytest.approx(float(expected), abs=1e-5)


def test_the_gradient_is_that_of_finite_differences(case):
    r = case.r0.clone().requires_grad_()
    loss = case.model.loss(case.encoded, case.target, r)
    (gradient,) = torch.autograd.grad(loss.sum(), r)
    along = case.r0 * torch.randn(case.r0.shape, generator=torch.Generator().manual_seed(2))
    slope = (gradient * along).sum((1, 2))
    # Where another expert is chosen the loss jumps: of three steps, one at least has none.
    errors = []
    for step in (1e-3, 1e-4, 1e-5):
        ahead = case.model.loss(case.encoded, case.target, case.r0 + step * along)
        behind = case.model.loss(case.encoded, case.target, case.r0 - step * along)
        errors.append(((ahead - behind) / (2 * step) - slope).abs())
    assert gradient.abs().max() > 0
    assert (torch.stack(errors).amin(0) < 0.01 * slope.abs().max()).all()


def test_a_padded_batch_gives_what_its_samples_give_alone(case):
    together = case.model.loss(case.encoded, case.target, case.moved)
    for i, sample in enumerate(SAMPLES):
        alone = case.model.encode([sample])
        assert torch.allclose(case.model.route(alone), case.r0[i : i + 1], atol=1e-6)
        loss = case.model.loss(alone, case.model.target([sample]), case.moved[i : i + 1])
        assert float(loss) == pytest.approx(float(together[i]), abs=1e-5)


def test_without_a_shift_it_generates_what_transformers_generates(case):
    answers = case.model.answer(case.encoded, case.r0)
    for sample, text in zip(SAMPLES, answers.texts, strict=True):
        if not sample.choices:
            inputs = case.inputs(sample)
            made = case.network.generate(**inputs, do_sample=False, max_new_tokens=8)
            said = made[0, inputs["input_ids"].shape[1] :]
            assert text == case.model.prompts.read(said)


def test_r0_lies_on_the_simplex(case):
    assert (case.r0 >= 0).all()
    assert ((case.r0.sum(-1) - 1).abs() < 1e-6).all()
    assert case.r0.shape[1:] == (
        len(case.model.sites),
        max(len(s.experts) for s in case.model.sites),
    )


def test_recurrent_states_may_be_written_over_while_the_gradient_is_taken(tmp_path):
    families.save("jamba", tmp_path)
    model = Sparse(f"hf:{tmp_path}?{OPTIONS}&dtype=bfloat16")
    r = model.route(encoded := model.encode(SAMPLES)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(encoded, model.target(SAMPLES), r).sum(), r)
    assert gradient.isfinite().all()
    assert gradient.any()


# Each rule written down once more.


def _softmax_then_top(logits, renormalise):
    value, index = logits.softmax(-1).topk(2)
    return (value / value.sum(-1, keepdim=True) if renormalise else value), index


def _top_then_softmax(logits):
    value, index = logits.topk(2)
    return value.softmax(-1), index


def _grouped_sigmoids(logits, router):
    scores = logits.sigmoid()
    chosen = (scores + router.e_score_correction_bias).view(-1, 2, 4)
    best = chosen.topk(2).values.sum(-1).argmax(-1)
    outside = torch.arange(2)[None] != best[:, None]
    index = chosen.masked_fill(outside[..., None], -1).flatten(1).topk(2).indices
    value = scores.gather(1, index)
    return router.routed_scaling_factor * value / value.sum(-1, keepdim=True), index


RULES = {
    "olmoe": lambda logits, router: _softmax_then_top(logits, False),
    "qwen3_moe": lambda logits, router: _softmax_then_top(logits, True),
    "gpt_oss": lambda logits, router: _top_then_softmax(logits),
    "deepseek_v3": _grouped_sigmoids,
}


@pytest.mark.parametrize("family", RULES)
def test_a_router_decides_by_its_familys_rule_on_the_shifted_logits(family, tmp_path):
    network = families.save(family, tmp_path)
    (router, *others) = find(network)
    if family == "deepseek_v3":
        router.module.e_score_correction_bias += torch.linspace(-0.3, 0.3, 8)
    hidden, shifts = torch.randn(6, 32), 3 * torch.randn(2, 1, 8)
    with Hooks([router, *others]).through(add(shifts)):
        _, weights, index = router.module(hidden)
    bias = getattr(router.module, "bias", torch.zeros(8))
    logits = hidden @ router.module.weight.T + bias + shifts.repeat_interleave(3, 0)[:, 0]
    expected, chosen = RULES[family](logits, router.module)

    def dense(weights, index):
        return torch.zeros(6, 8).scatter(1, index, weights)

    assert torch.allclose(dense(weights, index), dense(expected, chosen), atol=1e-6)


def test_sigmoids_and_softmaxes_are_told_apart(tmp_path):
    for family, sigmoid in (("olmoe", False), ("glm4_moe", True), ("llama4", True)):
        routers = find(families.save(family, tmp_path / family))
        assert all(router.sigmoid is sigmoid for router in routers)


def test_it_keeps_every_promise_of_the_contract(small):
    found = check(small, SAMPLES)
    assert {one.promise: one.why for one in found if not one.kept} == {}


# What is told by the configuration.


def test_sites_and_notice_are_told_without_loading(case, monkeypatch):
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", None)
    name = case.model.name
    assert sorted(sites(name), key=str) == sorted(case.model.sites, key=str)
    assert notice(name) == case.model.notice
    seen = sees(case.network.config)
    assert ("does not see pictures" in case.model.notice) is not seen


def test_what_is_told_needs_no_weights(olmoe, tmp_path):
    for file in olmoe.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    name = f"hf:{tmp_path}?layers=last2&prompt=160"
    assert [site.name for site in sites(name)] == ["layer 1", "layer 2"]
    told = estimate(name, "cpu")
    assert told.weights == 4 * told.parameters > 0


def test_the_notice_comes_without_torch(olmoe):
    look = (
        f"import sys, r2t2.models as m; m.notice('hf:{olmoe}'); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# Options, and what r speaks of.


def test_a_name_holds_the_options():
    path, options = parse("hf:org/name?layers=3,5&experts=all&lead=%3Cso%3E&tokens=2", Options)
    assert path == "org/name"
    assert options == Options(layers="3,5", experts="all", lead="<so>", tokens=2)
    assert parse("hf:org/name", Options) == ("org/name", Options())


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("layer=1", "no option"),
        ("tokens=1&tokens=2", "twice"),
        ("layers=first3", "lastN"),
        ("experts=many", "whole number"),
        ("experts=0", "between 1"),
        ("tokens=all", "whole number"),
        ("dtype=int4", "bfloat16"),
        ("tokens=20&prompt=10", "less than prompt"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(query, message):
    with pytest.raises(ValueError, match=message):
        parse(f"hf:org/name?{query}", Options)


def test_layers_are_all_the_last_or_those_named():
    assert Options(layers="all").select([1, 2, 5]) == [1, 2, 5]
    assert Options(layers="last2").select([1, 2, 5]) == [2, 5]
    assert Options(layers="5,1").select([1, 2, 5]) == [1, 5]
    with pytest.raises(ValueError, match="4 routes no token; those that do are 1, 2, 5"):
        Options(layers="4,5").select([1, 2, 5])


def test_only_core_experts_of_chosen_layers_move(small):
    assert [site.name for site in small.sites] == ["layer 1", "layer 2"]
    encoded, target = small.encode(SAMPLES), small.target(SAMPLES)
    r = small.route(encoded).requires_grad_()
    (gradient,) = torch.autograd.grad(small.loss(encoded, target, r).sum(), r)
    core = torch.zeros_like(r, dtype=torch.bool).scatter(-1, r.topk(3).indices, True)
    assert (gradient[~core] == 0).all()
    assert gradient[core].any()
    elsewhere = torch.where(core, r, torch.rand_like(r)).detach()
    assert torch.equal(
        small.loss(encoded, target, elsewhere), small.loss(encoded, target, r.detach())
    )


def test_an_expert_of_weight_zero_is_switched_off():
    r0 = torch.tensor([[[0.5, 0.3, 0.2]]])
    off = shift(torch.tensor([[[0.0, 0.6, 0.4]]]), r0, 3)
    assert off[0, 0, 0] < -10
    assert off.isfinite().all()


def test_attention_and_feedforward_routers_of_a_layer_are_two_sites(tmp_path):
    families.save("jetmoe", tmp_path)
    names = [site.name for site in Sparse(f"hf:{tmp_path}?layers=last1&prompt=80").sites]
    assert names == ["layer 2 self_attention.experts", "layer 2 mlp"]


# Answers.


def test_given_choices_are_scored_and_others_generated(small):
    answers = small.answer(encoded := small.encode(SAMPLES), small.route(encoded))
    assert answers.candidates[0][:3] == ("cat", "a dog", "cow")
    assert answers.candidates[2][:2] == ("y", "n")
    assert torch.allclose(answers.probabilities[[0, 2]].sum(-1), torch.ones(2))
    as_label = [dataclasses.replace(SAMPLES[0], label=choice) for choice in ("cat", "a dog", "cow")]
    one = encoded[torch.zeros(3, dtype=torch.long)]
    losses = small.loss(one, small.target(as_label), small.route(one))
    assert torch.allclose((-losses).softmax(0), answers.probabilities[0, :3], atol=1e-5)


def test_choices_may_be_asked_for_by_letters_and_are_answered_in_words(olmoe):
    model = Sparse(f"hf:{olmoe}?layers=last2&prompt=256&answer=8&form=llava")
    assert "A. cat" in model.prompts.text(SAMPLES[0])
    encoded = model.encode(SAMPLES[:1])
    assert model.answer(encoded, model.route(encoded)).candidates[0] == SAMPLES[0].choices
    letter = model.prompts.answer(SAMPLES[0], "a dog")
    assert model.prompts.read(letter) == "B"


def test_in_the_default_dtype_batches_give_what_samples_give(small):
    together = small.answer(encoded := small.encode(SAMPLES), small.route(encoded))
    small._batches.size = 1
    alone = small.answer(encoded := small.encode(SAMPLES), small.route(encoded))
    small._batches.size = 64
    assert together.texts == alone.texts
    assert torch.allclose(together.probabilities, alone.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "has no label"),
        ({"label": "a very long answer"}, "1 to 8"),
        ({"question": "why? " * 60}, "prompt=160"),
        ({"choices": tuple("abcdefghi")}, "choices=8"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(small, change, message):
    sample = dataclasses.replace(SAMPLES[0], **change)
    with pytest.raises(ValueError, match=message):
        small.target([sample]) and small.encode([sample])


def test_a_chat_template_is_used_where_there_is_one(olmoe, tmp_path):
    chats = families.tokenizer()
    families.save("olmoe", tmp_path)
    chats.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %} so: "
    chats.save_pretrained(tmp_path)
    with_template = Sparse(f"hf:{tmp_path}?prompt=160&lead=it is ").prompts.text(SAMPLES[1])
    assert with_template == "why?\nAnswer with a word or a short phrase. so: it is "
    plain = Sparse(f"hf:{olmoe}?prompt=160").prompts.text(SAMPLES[1])
    assert plain == "Question: why?\nAnswer with a word or a short phrase.\nAnswer:"


# Memory, files, names.


def test_running_out_of_memory_halves_the_batch_and_goes_on():
    seen = []

    def work(rows):
        if rows.stop - rows.start > 3:
            raise torch.OutOfMemoryError("too much")
        seen.append((rows.start, rows.stop))
        return rows.stop - rows.start

    batches = batching.Batches(16)
    assert sum(batches(10, work)) == 10
    assert seen == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert batches.size == 2


def test_a_single_row_that_does_not_fit_is_refused():
    def work(rows):
        raise MemoryError("none left")

    with pytest.raises(MemoryError, match="not even one sample"):
        batching.Batches(4)(8, work)


def test_a_single_row_takes_the_place_of_what_is_only_at_hand():
    at_hand, tried = [True], []

    def work(rows):
        tried.append(rows.stop - rows.start)
        if at_hand:
            raise torch.OutOfMemoryError("too much")

    batching.Batches(4, lambda: bool(at_hand and at_hand.pop()))(2, work)
    assert tried == [2, 1, 1, 1]


@pytest.mark.parametrize("held", [0, 0.7, 1])
def test_what_is_held_on_a_device_changes_no_bit(small, monkeypatch, held):
    encoded, target = small.encode(SAMPLES), small.target(SAMPLES)
    rows = torch.tensor([1, 0, 1])
    r = small.route(encoded)[rows].requires_grad_()

    def everything():
        (loss := small.loss(encoded[rows], target[rows], r)).sum().backward()
        gradient, r.grad = r.grad, None
        return loss, gradient, small.answer(encoded, small.route(encoded)).probabilities

    expected = everything()
    room = held * (encoded.nbytes + target.nbytes)  # 0.7 is enough for two samples, not all
    monkeypatch.setattr(memory, "free_memory", lambda device: room / memory.SHARE)
    monkeypatch.setattr(memory.Near, "_far", lambda near, tensor: True)
    monkeypatch.setattr(small, "_near", memory.Near(small.device))
    monkeypatch.setattr(small._batches, "size", 64)
    for _ in range(2):
        for there, value in zip(everything(), expected, strict=True):
            assert torch.equal(there, value)
    assert small._near.empty() == (held > 0)


def test_rowwise_losses_have_the_gradient_of_all_rows_at_once():
    r = torch.rand(7, 2, 3, dtype=torch.float64, requires_grad=True)
    scale = torch.arange(7).double()

    def loss(rows: slice, r: Tensor) -> Tensor:
        return scale[rows] * (r**3).sum((1, 2))

    assert torch.autograd.gradcheck(lambda r: batching.rowwise(loss, r, batching.Batches(3)), (r,))


def test_memory_and_time_are_told_before_loading(small, olmoe):
    told, weights = small.estimate, small.network._network.parameters()
    assert told.parameters == sum(weight.numel() for weight in weights)
    assert told.active < told.parameters
    kept = [t for name, t in small.encode(SAMPLES[:1]).tensors.items() if name.startswith("cache")]
    assert told.encoding == pytest.approx(sum(tensor.nbytes for tensor in kept), rel=0.02)
    assert told.seconds(2) > told.seconds(1) > told.seconds(0) > 0
    assert "of weights" in told.report
    with pytest.raises(MemoryError, match="do not fit"):
        dataclasses.replace(told, free=10).check()


def test_the_fingerprint_tells_weights_and_options_apart(small, olmoe, tmp_path):
    families.save("olmoe", tmp_path, seed=1)
    again = Sparse(small.name)
    assert again.fingerprint == small.fingerprint
    assert Sparse(small.name.replace("experts=3", "experts=4")).fingerprint != again.fingerprint
    other = small.name.replace(str(olmoe), str(tmp_path))
    assert Sparse(other).fingerprint != again.fingerprint


def test_a_model_that_routes_nothing_is_refused(tmp_path):
    config = LlamaConfig(**{**families.SIZES, "num_hidden_layers": 1})
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    families.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="routes no tokens"):
        Sparse(f"hf:{tmp_path}?prompt=80")


def test_a_model_that_encodes_and_decodes_is_refused(tmp_path):
    SwitchTransformersConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="decode alone"):
        Sparse(f"hf:{tmp_path}")


def test_a_model_whose_state_is_lost_between_parts_is_refused(olmoe, monkeypatch):
    monkeypatch.setattr("r2t2.models.sparse.network.thaw", _forgetful)
    with pytest.raises(ValueError, match="cannot go on"):
        Sparse(f"hf:{olmoe}?prompt=80")


def _forgetful(like, tensors):
    from r2t2.models.sparse.prefix import thaw

    return thaw(like, {name: torch.zeros_like(tensor) for name, tensor in tensors.items()})


def test_a_name_that_is_nowhere_says_what_was_tried(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(weights, "snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match="neither a folder here nor"):
        load_model("hf:org/name", "cpu")


def test_models_named_in_the_cache_are_offered_if_they_are_here(olmoe, tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    here = f"hf:{olmoe}?layers=last2"
    (tmp_path / "models.txt").write_text(f"# sparse mixtures\n{here}\nhf:nobody/nothing\n")
    assert [name for name in available() if name.startswith("hf:")] == [here]
    assert load_model(here, "cpu").name == here


def test_a_model_is_added_once_and_removed_again(olmoe, tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    here = f"hf:{olmoe}?layers=last2"
    (tmp_path / "models.txt").write_text("# kept by hand")
    for _ in range(2):
        models.add(here)
    assert (tmp_path / "models.txt").read_text() == f"# kept by hand\n{here}\n"
    models.remove(here)
    assert (tmp_path / "models.txt").read_text() == "# kept by hand\n"
    with pytest.raises(KeyError, match="does not name"):
        models.remove(here)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("mini", KeyError, "no name of a large model"),
        ("hf:org/name\nhf:other", KeyError, "no name of a large model"),
        ("hf:org/name", FileNotFoundError, "hf download org/name"),
        ("hf:{olmoe}?layer=1", ValueError, "no option"),
        ("hf:{olmoe}?layers=7", ValueError, "7 routes no token"),
    ],
)
def test_what_cannot_be_added_is_refused(name, error, message, olmoe, tmp_path, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(tmp_path))
    with pytest.raises(error, match=message):
        models.add(name.format(olmoe=olmoe))
    assert not (tmp_path / "models.txt").exists()


def test_a_long_name_is_read_easily():
    name = "hf:/models/org/OLMoE-1B-7B/?layers=last5&lead=%3Cso%3E"
    assert title(name) == "OLMoE-1B-7B (layers last5, lead <so>)"
    assert title("hf:org/name") == "name"
    assert title("moai?dtype=bfloat16") == "moai (dtype bfloat16)"
    assert title("mini-1") == "mini-1"


def test_a_text_model_says_that_it_sees_no_pictures(small):
    assert "does not see pictures" in small.notice
    assert "3 core experts of the last 2 routed layers" in small.notice


# All the way through.


@pytest.fixture
def engine(small):
    def make(position):
        sample = SAMPLES[2]
        label = "yn"[position % 2]
        question = f"is it so that {position} is {position + 1}?"
        return dataclasses.replace(sample, id=str(position), question=question, label=label)

    dataset = Dataset("so", 16, make)
    return Engine(small, reference.build(small, dataset, 0), dataset)


NGD = Setting("ngd", k=3, steps=3, learning_rate=0.01, references="all")


def test_every_encoding_is_brought_to_the_device_once_for_all_steps_and_strategies(
    engine, small, monkeypatch
):
    prepared, brought = engine.prepare(engine.dataset[:4]), []
    expected = engine.run(prepared, NGD)
    across = memory.across

    def counted(tensor, rows, device):
        brought.extend((id(tensor), row) for row in rows)
        return across(tensor, rows, device)

    monkeypatch.setattr(memory, "across", counted)
    monkeypatch.setattr(memory.Near, "_far", lambda near, tensor: True)
    monkeypatch.setattr(small, "_near", memory.Near(small.device))
    found = engine.run(prepared, NGD)
    assert torch.equal(found.r, expected.r)
    assert torch.equal(found.answers[-1].probabilities, expected.answers[-1].probabilities)
    assert len(set(brought)) == len(brought) > 0
    brought.clear()
    engine.run(prepared, dataclasses.replace(NGD, algorithm="kernel_regression"))
    assert brought == []


def test_ngd_lowers_the_neighbours_loss(engine, small):
    dataset = engine.dataset
    assert 0 < len(engine.reference.correct) < 16
    done = engine.run(engine.prepare(dataset[:4]), NGD)
    assert torch.equal(done.r[:, 0], small.route(small.encode(dataset[:4])))
    assert (done.objective[:, -1] < done.objective[:, 0]).all()
    assert done.answers[-1].probabilities.isfinite().all()
