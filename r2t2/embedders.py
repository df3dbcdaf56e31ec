"""Question -> vector, through sentence-transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Embedder:
    """How a question becomes a vector.

    Parameters
    ----------
    name : as it is typed, stored and shown.
    model : a sentence-transformers name or folder, or "wordllama".
    prompt : the instruction that the model expects before a query.
    remote_code : whether the model is published with code of its own.
    """

    name: str
    model: str
    prompt: str = ""
    remote_code: bool = False


_RETRIEVE = "Given a question about an image, retrieve questions that need the same skills"
EMBEDDERS = {
    e.name: e
    for e in (
        Embedder("wordllama", "wordllama"),
        # The paper's four (its table 7), with the query instructions of their model cards.
        Embedder(
            "nv-embed-v2", "nvidia/NV-Embed-v2", f"Instruct: {_RETRIEVE}\nQuery: ", remote_code=True
        ),
        Embedder(
            "stella-en-1.5b-v5",
            "NovaSearch/stella_en_1.5B_v5",
            f"Instruct: {_RETRIEVE}\nQuery: ",
            remote_code=True,
        ),
        Embedder(
            "gte-qwen2-7b-instruct",
            "Alibaba-NLP/gte-Qwen2-7B-instruct",
            f"Instruct: {_RETRIEVE}\nQuery: ",
        ),
        Embedder("sentence-bert", "sentence-transformers/all-MiniLM-L6-v2"),
    )
}


def embedder(name: str) -> Embedder:
    """The embedder of that name; any other name is a sentence-transformers model or folder."""
    return EMBEDDERS.get(name, Embedder(name, name))


def embed(
    questions: Sequence[str], name: str = "wordllama", device: str = "cpu"
) -> Float[np.ndarray, "questions dimensions"]:
    """Unit vectors of the questions, float32.

    Raises
    ------
    OSError : the model cannot be loaded; the message says what to do.
    """
    chosen = embedder(name)
    vectors = _load(chosen, device).encode(
        list(questions),
        prompt=chosen.prompt or None,
        normalize_embeddings=True,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return np.asarray(vectors, np.float32)


@cache
def _load(chosen: Embedder, device: str) -> SentenceTransformer:
    # Imported here: it takes seconds, and who only computes or only looks embeds nothing.
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    if chosen.model == "wordllama":
        table, tokenizer = wordllama()
        module = StaticEmbedding(tokenizer, embedding_weights=table.numpy())
        return SentenceTransformer(modules=[module, Normalize()], device=device)
    try:
        return SentenceTransformer(
            chosen.model, device=device, trust_remote_code=chosen.remote_code
        )
    except Exception as error:  # the libraries below raise many kinds for the same cause
        raise OSError(
            f"the embedding model {chosen.model!r} could not be loaded ({error}). Check the name, "
            "download it once with network access, or give the folder that it lies in."
        ) from error


@cache
def wordllama() -> tuple[Float[Tensor, "32000 256"], Tokenizer]:
    """The pretrained static token embeddings in the wordllama wheel, and their tokenizer.

    Raises
    ------
    OSError : the package is not installed.
    """
    # The package itself is not imported: its loader looks for the files in a folder of the
    # user's and downloads them when they are not there.
    spec = importlib.util.find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise OSError("the package wordllama is missing: pip install -r requirements.txt")
    folder = Path(spec.submodule_search_locations[0])
    weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
    tokenizer = Tokenizer.from_file(
        str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return weights["embedding.weight"].to(torch.float32), tokenizer
