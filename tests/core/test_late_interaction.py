"""Late interaction on a tiny real encoder: its scores, what is read once, what cannot serve."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import still_models

from aloft.errors import ModelError

pytestmark = pytest.mark.model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return still_models(tmp_path, monkeypatch)


def unit_tokens(folder: Path, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors of all tokens by transformers alone, each of length one."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
    vectors: np.ndarray[Any, np.dtype[np.float32]] = states
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_score_is_the_mean_of_each_tokens_best_match(folder: Path) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker

    question, passages = "where is the owl", ["the owl is in the barn", "eels"]
    scores = LateInteractionReranker(str(folder / "encoder")).score(
        [(question, text) for text in passages]
    )
    asked = unit_tokens(folder / "encoder", question)
    expected = [
        (asked @ unit_tokens(folder / "encoder", text).T).max(axis=1).mean() for text in passages
    ]
    np.testing.assert_allclose(scores, expected, atol=2e-3)  # passages are kept in half precision
    assert scores[0] > scores[1]


def test_a_passage_longer_than_the_input_is_read_in_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker

    words = [f"{name}{i}" for i in range(4) for name in ("owl", "eel", "bat")]
    text, question = " ".join(words), "owl3 eel3 bat3"
    reranker = LateInteractionReranker(str(folder / "encoder"))
    tokens = reranker.model.tokenizer(text, add_special_tokens=False)["input_ids"]
    special = len(reranker.model.tokenizer("")["input_ids"])
    reranker.model.max_seq_length = special + len(tokens) // 2  # in two parts, at a word's end
    assert len(tokens) % 4 == 0
    halves = [" ".join(words[:6]), " ".join(words[6:])]
    known = np.concatenate([unit_tokens(folder / "encoder", half) for half in halves])
    asked = unit_tokens(folder / "encoder", question)
    expected = (asked @ known.T).max(axis=1).mean()
    score, first = reranker.score([(question, text), (question, halves[0])])
    assert score == pytest.approx(expected, abs=2e-3)
    assert score > first + 0.01  # what is asked for stands at the end

    # a tokenizer in Python does not tell where tokens stand: what it cuts stays unread
    monkeypatch.setattr(type(reranker.model.tokenizer), "is_fast", False)
    reranker._kept.clear()
    (cut,) = reranker.score([(question, text)])
    assert cut == pytest.approx(first, abs=2e-3)


def test_a_score_is_the_same_in_any_company(folder: Path) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker

    pairs = [(f"question {i % 3}", f"passage {i} " * (1 + i % 5)) for i in range(40)]
    reranker = LateInteractionReranker(str(folder / "encoder"))
    together = reranker.score(pairs)
    alone = [
        float(LateInteractionReranker(str(folder / "encoder")).score([p])[0]) for p in pairs[:6]
    ]
    np.testing.assert_allclose(together[:6], alone, atol=1e-3)
    assert reranker.score([]).shape == (0,)


def test_a_passage_is_read_once_while_it_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aloft.backends import late_interaction

    reranker = late_interaction.LateInteractionReranker(str(folder / "encoder"))
    read: list[str] = []
    encode = reranker.model.encode_document

    def counted(texts: list[str], **how: Any) -> Any:
        read.extend(texts)
        return encode(texts, **how)

    monkeypatch.setattr(reranker.model, "encode_document", counted)
    first = reranker.score([("a", "one"), ("b", "one"), ("a", "two")])
    again = reranker.score([("a", "two"), ("a", "one"), ("c", "three")])
    assert read == ["one", "two", "three"]
    assert (again[0], again[1]) == (first[2], first[0])

    # room for one passage: the one used last stays
    monkeypatch.setattr(late_interaction, "_KEPT", reranker._kept["three"].nbytes)
    reranker.score([("a", "three")])
    assert [*reranker._kept] == ["three"]
    assert reranker._bytes == reranker._kept["three"].nbytes
    reranker.score([("a", "one")])
    assert read == ["one", "two", "three", "one"]


def test_a_projection_behind_the_pooling_maps_every_token(folder: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    from aloft.backends.late_interaction import load_late_interaction

    model = SentenceTransformer(str(folder / "encoder"), device="cpu")
    torch.manual_seed(0)
    model.append(Dense(32, 8, bias=False, activation_function=torch.nn.Identity()))
    model.save(str(folder / "projected"), create_model_card=False)
    tokens = load_late_interaction(folder / "projected").encode_document(["the owl"])[0]
    whole = unit_tokens(folder / "encoder", "the owl")
    assert tokens.shape == (len(whole), 8)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-5)


def test_questions_with_an_encoder_of_their_own_are_matched_by_it(folder: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    from aloft.backends.checking import check_reranker, has_tokens
    from aloft.backends.late_interaction import LateInteractionReranker, load_late_interaction

    holds = SentenceTransformer(str(folder / "encoder"), device="cpu")
    asks = SentenceTransformer(str(folder / "encoder"), device="cpu")
    with torch.no_grad():
        asks[0].auto_model.embeddings.word_embeddings.weight.mul_(torch.rand(32))
    asks.save(str(folder / "asking"), create_model_card=False)
    both: Any = [list(one.children()) for one in (asks, holds)]
    routed = SentenceTransformer(modules=[Router.for_query_document(*both)], device="cpu")
    routed.save(str(folder / "routed"), create_model_card=False)

    assert has_tokens(str(folder / "routed"))
    check_reranker(str(folder / "routed"))
    question, text = "where is the owl", "the owl is in the barn"
    asked, held = unit_tokens(folder / "asking", question), unit_tokens(folder / "encoder", text)
    expected = (asked @ held.T).max(axis=1).mean()
    assert abs((unit_tokens(folder / "encoder", question) @ held.T).max(1).mean() - expected) > 0.01
    load_late_interaction(folder / "routed").save_pretrained(str(folder / "saved"))
    for name in ("routed", "saved"):
        (score,) = LateInteractionReranker(str(folder / name)).score([(question, text)])
        assert score == pytest.approx(expected, abs=2e-3)


def test_an_embedder_of_whole_texts_alone_has_no_tokens_to_match(folder: Path) -> None:
    import json

    from aloft.backends.checking import check_reranker, has_tokens

    assert has_tokens(str(folder / "encoder"))
    static = [{"idx": 0, "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    (folder / "encoder" / "modules.json").write_text(json.dumps(static))
    assert not has_tokens(str(folder / "encoder"))
    with pytest.raises(ModelError, match="vectors of"):
        check_reranker(str(folder / "encoder"))


def test_a_run_without_a_configured_reranker_has_its_embedders_body(folder: Path) -> None:
    from aloft.backends.late_interaction import LateInteractionReranker
    from aloft.backends.loading import Models
    from aloft.backends.sentence_transformers import (
        SentenceTransformersReranker,
        load_cross_encoder,
    )

    load_cross_encoder(folder / "encoder").save_pretrained(str(folder / "cross-encoder"))
    models = Models()
    body = models.reranker(str(folder / "encoder"))
    assert isinstance(body, LateInteractionReranker)
    models.embedder(str(folder / "encoder"))
    assert models.reranker(str(folder / "encoder")) is body  # with the vectors that it remembers
    models.release()
    assert models.reranker(str(folder / "encoder")) is not body
    crossed = models.reranker(str(folder / "cross-encoder"))
    assert isinstance(crossed, SentenceTransformersReranker)
