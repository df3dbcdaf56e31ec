"""The contract's own arithmetic."""

import torch

from r2t2.contract import Answers, Batch, expert_weights, top1
from r2t2.sites import Site

SAME = (Site("block 1", ("A", "B", "C")), Site("block 2", ("A", "B", "C")))
MIXED = (Site("image", ("IA", "IB")), Site("language", ("LA", "LB")))


def test_the_top1_expert_is_of_the_mean_over_layers():
    r = torch.tensor([[[0.6, 0.4, 0.0], [0.0, 0.5, 0.5]]])
    assert top1(r, SAME).tolist() == [1]


def test_a_tie_goes_to_the_lowest_index():
    r = torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]])
    assert top1(r, SAME).tolist() == [0]


def test_experts_of_different_sites_compete_by_name():
    r = torch.tensor([[[0.9, 0.1], [0.05, 0.95]]])
    assert torch.allclose(expert_weights(r, MIXED), torch.tensor([[0.9, 0.1, 0.05, 0.95]]))
    assert top1(r, MIXED).tolist() == [3]


def test_a_batch_is_indexed_and_joined_row_by_row():
    batch = Batch({"a": torch.arange(4), "b": torch.arange(8).view(4, 2)})
    joined = Batch.cat([batch[torch.tensor([3])], batch[:2]])
    assert len(joined) == 3
    assert joined.tensors["a"].tolist() == [3, 0, 1]
    assert joined.tensors["b"][0].tolist() == [6, 7]


def test_answers_are_the_most_probable_candidates():
    answers = Answers([("yes", "no"), ("red", "blue")], torch.tensor([[0.3, 0.7], [0.9, 0.1]]))
    assert answers.texts == ["no", "red"]
    assert [name for name, _ in answers.top(5)[1]] == ["red", "blue"]


def test_some_samples_answers_are_replaced_whatever_their_candidates():
    answers = Answers([("yes",), ("red",), ("cat",)], torch.tensor([[0.7], [0.9], [0.4]]))
    others = Answers([("dog", "cow"), ("no", "yes")], torch.tensor([[0.2, 0.6], [0.8, 0.2]]))
    both = answers.put(torch.tensor([2, 0]), others)
    assert both.texts == ["no", "red", "cow"]
    assert both.confidence.tolist() == torch.tensor([0.8, 0.9, 0.6]).tolist()
    assert answers.texts == ["yes", "red", "cat"]
