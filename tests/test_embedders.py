"""Question embeddings, against plain mean pooling and as sentence-transformers loads them."""

import numpy as np
import pytest

from r2t2.embedders import EMBEDDERS, embed, embedder, wordllama

QUESTIONS = ["what color is the ball?", "how many red cubes are there?", "read the sign."]


def test_the_default_is_mean_pooling_of_the_pretrained_token_embeddings():
    table, tokenizer = wordllama()
    expected = []
    for question in QUESTIONS:
        ids = tokenizer.encode(question, add_special_tokens=False).ids
        mean = table[ids].mean(0).numpy()
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(embed(QUESTIONS), np.stack(expected), atol=1e-5)


def test_similar_questions_lie_nearer_than_others():
    near, other, question = embed(
        ["which color does the cube have?", "how many rings are there?", "what color is the cube?"]
    )
    assert question @ near > question @ other


def test_the_papers_four_are_known_by_name_with_their_instructions():
    assert {"nv-embed-v2", "stella-en-1.5b-v5", "gte-qwen2-7b-instruct", "sentence-bert"} <= set(
        EMBEDDERS
    )
    assert EMBEDDERS["nv-embed-v2"].prompt.startswith("Instruct:")


def test_any_sentence_transformers_folder_can_be_named(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    table, tokenizer = wordllama()
    module = StaticEmbedding(tokenizer, embedding_weights=table[:, :8].contiguous().numpy())
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "mine"))
    assert embedder(str(tmp_path / "mine")).model == str(tmp_path / "mine")
    vectors = embed(QUESTIONS, str(tmp_path / "mine"))
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_model_that_cannot_be_loaded_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="could not be loaded"):
        embed(QUESTIONS, "nobody/no-such-model")
