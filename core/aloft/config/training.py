"""Settings of training the embedder, the reranker and the generator."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from aloft.config.base import Epochs, LearningRate, Rank, Settings, Share, Text, Tokens

EmbedderLoss = Literal["contrastive", "guided", "triplet", "graded", "distilled"]
GRADED: tuple[EmbedderLoss, ...] = ("graded", "distilled")  # losses that need a reranker's grades
WarmupShare = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]


def _is_decreasing(dimensions: tuple[int, ...]) -> tuple[int, ...]:
    if list(dimensions) != sorted(set(dimensions), reverse=True):
        raise ValueError("list each dimension once, the largest first, as in [256, 128, 64].")
    return dimensions


class EmbedderTrainingConfig(Settings):
    """How the embedder is trained; values of the practice guides (1-3 epochs, 10 % warm-up).

    Attributes:
        loss: "contrastive": the right passage against all others of the batch and the hard
            negatives (a batch of any size in the memory of 16 texts); "guided": the same, without
            those that the untuned embedder ranks above the right passage; "triplet": the right
            passage against each hard negative; "graded" (CoSENT) and "distilled" (margins, as in
            GPL): the order, and the differences, of the scores of `reranker`. Contrast and order
            are at a temperature of 0.05, 0.02 or 0.01, by how far the untuned model spreads texts.
        matryoshka: Dimensions, the largest first, at which the loss is computed as well, so that
            shortened vectors work too.
        method: "all" weights; "lora": low-rank updates of all layers, merged before saving;
            "query_lora" and "query_adapter": the same for questions alone, or one linear map of
            their vectors, so that passages need not be embedded again.
        r: Rank of the low-rank updates.
        num_train_epochs: Passes over the rows.
        learning_rate: Highest learning rate; it decays linearly to 0.
        warmup_share: Share of the steps over which the learning rate rises to its highest value.
        per_device_train_batch_size: Rows per step. Where passages are encoded anew, those of the
            batch are the negatives; where they are kept, all rows' are.
        max_seq_length: Tokens of a text that training reads; the trained model reads as many as
            before.
        tuned_share: Share of the trained weights in the model; the rest is of the untuned ones. An
            average of both keeps more of what the model knew of other words and questions.
    """

    loss: EmbedderLoss = "contrastive"
    matryoshka: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...], AfterValidator(_is_decreasing)
    ] = ()
    method: Literal["all", "lora", "query_lora", "query_adapter"] = "all"
    r: Rank = 16
    num_train_epochs: Epochs = 3.0
    learning_rate: LearningRate = 5e-5
    warmup_share: WarmupShare = 0.1
    per_device_train_batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = 64
    max_seq_length: Tokens = 256
    tuned_share: Share = 0.75

    @property
    def keeps_index(self) -> bool:
        """Whether the vectors of passages stay as they are."""
        return self.method.startswith("query_")

    def contradictions(self) -> Iterator[str]:
        """Losses that would change the vectors of passages, where those are kept."""
        if self.keeps_index and (self.loss != "contrastive" or self.matryoshka):
            yield (
                f'method is "{self.method}", which keeps the vectors of passages and supports the '
                'loss "contrastive" alone, without matryoshka. Set method to "all" or "lora".'
            )


class RerankerTrainingConfig(Settings):
    """How the reranker is trained on the mined negatives.

    Where none is configured and the embedder is trained, it is the tuned embedder's body: what
    training gave to the vectors of texts serves late interaction as well.

    Attributes:
        loss: Of a cross-encoder. "binary": each passage by itself, right or wrong (cross-entropy);
            "listwise": the order of a question's passages, by what a swap costs in nDCG
            (LambdaLoss). Late interaction has one loss, the embedder's "contrastive".
        method: "all" weights; "lora": low-rank updates of all layers, merged before saving.
        r: Rank of the low-rank updates.
        num_train_epochs: Passes over the rows. None: one; and none over those of a tuned embedder's
            body, which no corpus was seen to gain from.
        learning_rate: Highest learning rate; it decays linearly to 0.
        warmup_share: Share of the steps over which the learning rate rises to its highest value.
        per_device_train_batch_size: Rows per step; of late interaction, questions.
        max_seq_length: Tokens of a text, or of a question with its passage, that training reads;
            the trained model reads as many as before.
        tuned_share: Share of the trained weights in the model; the rest is of those it began with.
    """

    loss: Literal["binary", "listwise"] = "binary"
    method: Literal["all", "lora"] = "all"
    r: Rank = 16
    num_train_epochs: Epochs | None = None
    learning_rate: LearningRate = 5e-5
    warmup_share: WarmupShare = 0.1
    per_device_train_batch_size: BatchSize = 32
    max_seq_length: Tokens = 256
    tuned_share: Share = 0.5

    @property
    def epochs(self) -> float:
        """Passes over the rows where it is trained."""
        return 1.0 if self.num_train_epochs is None else self.num_train_epochs


class GeneratorTrainingConfig(Settings):
    """How the generator learns its format; defaults are ALoFTRAG's LoRA (its Appendix C).

    Attributes:
        init_adapter: Folder of an adapter to continue training; it keeps its rank and kind. None: a
            new one.
        method: "lora"; "rslora", whose scale suits large ranks; "dora", which learns magnitudes and
            directions separately, slower, and closer to training all weights; "qlora", next to base
            weights that training holds in 4 bits, on an NVIDIA GPU (inference uses the original
            weights); or "full": all weights, with a learning rate about a tenth as high and 16
            bytes of memory each.
        r: Rank of the low-rank updates.
        lora_alpha: Scale of the low-rank updates; they are multiplied by lora_alpha / r.
        lora_dropout: Dropout on the input of the low-rank updates.
        num_train_epochs: Passes over the rows.
        learning_rate: Highest learning rate; it decays linearly to 0.
        warmup_share: Share of the steps over which the learning rate rises to its highest value.
        per_device_train_batch_size: Rows per step. They are computed one at a time, so a batch
            needs the memory of one row.
        max_length: Tokens of a row; a longer one is left out.
        citation_weight: Weight in the loss of a token that names the passages, relative to one of
            the answer. It is one of some thirty tokens of a reply, and the one that a small model
            gets wrong.
        gradient_checkpointing: Whether layers are recomputed in the backward pass to save memory;
            None: only where the training would not fit otherwise. It does not change the result.
    """

    init_adapter: Text | None = None
    method: Literal["lora", "rslora", "dora", "qlora", "full"] = "lora"
    r: Rank = 64
    lora_alpha: Rank = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    num_train_epochs: Epochs = 1.0
    learning_rate: LearningRate = 2e-4
    warmup_share: WarmupShare = 0.0
    per_device_train_batch_size: BatchSize = 1
    max_length: Annotated[int, Field(ge=64, le=10_000_000)] = 20_000
    citation_weight: Annotated[float, Field(ge=1, le=10_000)] = 10.0
    gradient_checkpointing: bool | None = None


class RagTrainingConfig(Settings):
    """How a strategy trains on retrieved passages; each part keeps its own settings as well.

    Where the generator is trained, its epochs, batches (of questions, with k prompts each) and
    schedule also hold for an embedder trained with it, which keeps its own learning rate.

    Attributes:
        marginal: What the likelihood is summed over, passage by passage: whole answers ("sequence")
            or each token by itself ("token").
        k: Passages retrieved per question; RAG has 5 or 10.
        temperature: Of the softmax over the answer's likelihoods that passages are trained towards;
            the lower, the more the best passage counts. REPLUG's 0.1.
    """

    marginal: Literal["sequence", "token"] = "sequence"
    k: Annotated[int, Field(ge=2, le=10_000)] = 5
    temperature: Annotated[float, Field(gt=0, le=1000)] = 0.1
