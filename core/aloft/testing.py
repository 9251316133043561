"""Models for tests, ours and users' own: scripted ones that need no torch, and tiny real ones."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aloft.protocols import Floats, Prompt, Reply

_DIMENSIONS = 256
_CHATML = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}{{ '' if loop.first else '\n' }}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ScriptedTeacher:
    """A language model that replies by a function and remembers what it was asked.

    Args:
        reply: From a prompt to the reply's text; None: the reply was cut.
        score: From a prompt to a weight per choice; without it all choices are equal.
        read: From a prompt and a reply to the reply's mean log-likelihood; without it 0.
    """

    fingerprint = "scripted"

    def __init__(
        self,
        reply: Callable[[Prompt], str | None],
        score: Callable[[Prompt], Sequence[float]] | None = None,
        read: Callable[[Prompt, str], float] | None = None,
    ) -> None:
        self._reply = reply
        self._score = score
        self._read = read
        self.asked: list[Prompt] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Reply]:
        """Reply to each prompt by the script."""
        self.asked.extend(prompts)
        texts = [self._reply(prompt) for prompt in prompts]
        return [Reply(text=text or "", is_finished=text is not None) for text in texts]

    def choice_probabilities(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> Floats:
        """Probabilities by the script; (prompts, choices)."""
        self.asked.extend(prompts)
        equal = [1.0] * len(choices)
        rows = [list(self._score(prompt)) if self._score else equal for prompt in prompts]
        table = np.array(rows, np.float32)
        scores: Floats = np.divide(table, table.sum(1, keepdims=True), dtype=np.float32)
        return scores

    def score_replies(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Floats:
        """Log-likelihoods by the script; (prompts,)."""
        self.asked.extend(prompts)
        told = [
            self._read(p, r) if self._read else 0.0 for p, r in zip(prompts, replies, strict=True)
        ]
        return np.array(told, np.float32)


class HashingEmbedder:
    """Bags of hashed words as vectors: texts that share words are alike, on every machine."""

    fingerprint = "hashing"
    reads: int | None = None

    def locate_tokens(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The span of each word."""
        return [[word.span() for word in re.finditer(r"\w+", text)] for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Vectors of questions; (texts, 256), rows of length one."""
        return self._encode(texts)

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """Vectors of passages; (texts, 256), rows of length one."""
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), _DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            for word, count in Counter(_words(text)).items():
                place = int.from_bytes(sha256(word.encode()).digest()[:4], "big") % _DIMENSIONS
                vectors[row, place] += count
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Floats = np.divide(vectors, np.where(lengths > 0, lengths, 1), dtype=np.float32)
        return unit


class OverlapReranker:
    """Scores a passage by the share of the query's words that it holds."""

    fingerprint = "overlap"

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Shares in [0, 1]; (pairs,)."""
        shares = []
        for query, passage in pairs:
            wanted = set(_words(query))
            shares.append(len(wanted & set(_words(passage))) / max(1, len(wanted)))
        return np.array(shares, np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def tiny_language_model(folder: Path, seed: int = 0, *, head_dim: int = 8) -> Path:
    """A Llama of two layers with random weights, a byte tokenizer and a chat template, on disk.

    vLLM takes heads of 32 dimensions and more.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token=special[0],
        bos_token=special[1],
        eos_token=special[2],
        chat_template=_CHATML,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=head_dim,
                max_position_embeddings=8192,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                tie_word_embeddings=False,
                initializer_range=0.3,  # at the usual 0.02 it says one token for ever
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """A sentence-transformers BERT of two layers with random weights, on disk."""
    import string

    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    characters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    tokens += [f"##{character}" for character in characters]
    with TemporaryDirectory() as body, torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=256,
        )
        BertModel(config).save_pretrained(body)
        vocabulary = {token: i for i, token in enumerate(tokens)}
        BertTokenizer(vocab=vocabulary, model_max_length=256).save_pretrained(body)
        transformer = Transformer(body)
        pooling = Pooling(transformer.get_embedding_dimension())
        model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
        model.save(str(folder), create_model_card=False)
    return folder
