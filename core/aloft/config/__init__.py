"""Turns presets, a TOML file and command-line choices into one checked, frozen configuration."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aloft.config.strategies import Strategy, needed_by
from aloft.errors import ConfigError

Part = Literal["embedder", "reranker", "generator"]
PARTS: tuple[Part, ...] = ("embedder", "reranker", "generator")
FormatName = Literal["aloftrag", "raft", "ralt"]
Kind = Literal["fact", "definition", "how", "why", "comparison", "numeric", "multi_hop"]
Filter = Literal[
    "language",
    "self_contained",
    "leak",
    "support",
    "round_trip",
    "duplicate",
    "needs_all",
    "dependency",
]
EmbedderLoss = Literal["contrastive", "guided", "triplet", "graded", "distilled"]
GRADED: tuple[EmbedderLoss, ...] = ("graded", "distilled")  # those that a reranker grades for
Retriever = Literal["dense", "bm25", "hybrid"]
Guard = Literal["copy", "answer", "margin", "reranker", "reading"]
FILTERS: tuple[Filter, ...] = get_args(Filter)
MOST_STYLE_QUESTIONS = 12  # more only lengthen every prompt
SERVER = "openai:"  # how the name of a model behind a server begins
VLLM = "vllm:"  # how the name of a model that vLLM runs begins


def plain_name(name: str) -> str:
    """The model's own name, without the engine that runs it."""
    return name.removeprefix(VLLM)


def in_place(name: str, weights: str | Path) -> str:
    """Other weights, run by the engine that a name asks for."""
    return name.removesuffix(plain_name(name)) + str(weights)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentsConfig(_Settings):
    """What is read.

    Attributes:
        max_megabytes: A larger file is left out and listed: one file must not drown a corpus.
    """

    max_megabytes: float = Field(default=20.0, gt=0)


class PassagesConfig(_Settings):
    """How documents are cut.

    Attributes:
        max_tokens: Longest passage, in tokens of the embedder's tokenizer. ALoFTRAG's texts are
            already cut; 200 tokens with a title fit the 256 that small encoders read.
        window_tokens: Longest stretch of a passage that is embedded as one; what counts of a
            passage is its best. None: as long as the embedder reads.
        min_characters: A shorter passage holds nothing to ask about and is dropped.
        near_duplicate_similarity: Jaccard similarity of word 5-shingles from which a passage counts
            as a copy of an earlier one; MinHash finds the candidates.
    """

    max_tokens: int = Field(default=200, ge=16)
    window_tokens: int | None = Field(default=None, ge=16)
    min_characters: int = Field(default=40, ge=0)
    near_duplicate_similarity: float = Field(default=0.9, gt=0, le=1)


class RatingsConfig(_Settings):
    """Which passages are worth asking about (step 1 of ALoFTRAG).

    Attributes:
        method: "generate" writes the mark, as the paper does; "expect" reads the expected mark
            off the probabilities of 0 to 10 after one pass; "none" keeps every passage.
        min_rating: Lowest mark kept; the paper's 8. None: no fixed threshold.
        drop_share: Share of passages with the lowest marks that is dropped. Small models' marks
            order passages better than they place them on a scale.
    """

    method: Literal["generate", "expect", "none"] = "expect"
    min_rating: float | None = Field(default=None, ge=0, le=10)
    drop_share: float = Field(default=0.07, ge=0, lt=1)  # the paper drops 6.9 % on average


class PairsConfig(_Settings):
    """How questions and answers are written (steps 2 and 3 of ALoFTRAG).

    Attributes:
        form: "instruct" asks about the whole passage, which stands first, so that a cache reads it
            once; "paper" is ALoFTRAG's own request; "examples" shows a few worked examples and
            one focus span of the passage, which models too small to follow instructions can do.
        per_passage: Pairs asked of each passage; None: one per 400 letters, at most 8, where a
            Chinese, Japanese or Korean character counts as three. With "paper" it is 1.
        kinds: Of "instruct", the kinds of question with their shares; a passage is asked for each
            kind at most once, and for a number only where it holds one. "multi_hop" asks about
            two related passages, both of which the question then needs; see the filter needs_all.
        style: With "instruct", a few real questions whose form and tone are to be taken over.
        max_passages: Passages asked about, drawn at random with the run's seed; None: all.
        max_new_tokens: Tokens that a reply is given; what they cut is gone on with three times,
            by models that can be made to, and then rejected. With "paper" it is rejected at once.
        language: English name of the language to write in; "auto": that of the passage.
        rating: Whether the teacher marks its own pairs (step 3). Off: the paper found that it
            lowers citation accuracy from 82.9 to 77.7.
        min_rating: Lowest mark of question and of answer kept when `rating` is on.
    """

    form: Literal["instruct", "paper", "examples"] = "instruct"
    per_passage: int | None = Field(default=None, ge=1, le=8)
    kinds: dict[Kind, float] = Field(
        default={
            "fact": 3.0,
            "definition": 1.0,
            "how": 1.0,
            "why": 1.0,
            "comparison": 1.0,
            "numeric": 1.0,
        }
    )
    style: tuple[str, ...] = Field(default=(), max_length=MOST_STYLE_QUESTIONS)
    max_passages: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=512, ge=16)
    language: str = "auto"
    rating: bool = False
    min_rating: float = Field(default=8.0, ge=0, le=10)

    @model_validator(mode="after")
    def _paper_writes_one_pair(self) -> Self:
        if self.form == "paper" and self.per_passage != 1:
            raise ValueError(
                f'per_passage is {self.per_passage}, but form "paper" writes one pair a '
                'passage. Set per_passage to 1 or form to "instruct".'
            )
        return self

    @model_validator(mode="after")
    def _only_instructions_take_a_style(self) -> Self:
        if self.style and self.form != "instruct":
            raise ValueError(
                f'style is given, but form "{self.form}" has no room for it. Set form to '
                '"instruct", which needs a teacher of half a billion parameters or more.'
            )
        return self

    @field_validator("kinds")
    @classmethod
    def _some_kind_is_wanted(cls, kinds: dict[Kind, float]) -> dict[Kind, float]:
        if min(kinds.values(), default=0) < 0 or not sum(kinds.values()):
            raise ValueError("shares are numbers from 0, and one at least is above 0.")
        return kinds


class FiltersConfig(_Settings):
    """Which pairs are worth training on, by evidence.

    Attributes:
        use: The filters that are on; each looks at what those before it left. What each does is
            said in `aloft.synthesis.filters`.
        support: Least share of the answer's words that stand in the passage.
        round_trip_depth: Ranks of BM25 and of the embedder in which a question finds its passage.
        similarity: Jaccard similarity of their words from which a question counts as a copy of
            an earlier one.
        gain: Of the filters that read the answer with the teacher, which are `needs_all` and
            `dependency`: least gain, in nats a token, in the answer's mean log-likelihood from
            seeing what the question is said to need. Of 100 human questions of xquad_en 99 gain
            0.5 or more from their passage, and 38 from the one beside it (a 0.5B model).
    """

    use: tuple[Filter, ...] = FILTERS[:-1]
    support: float = Field(default=0.5, gt=0, le=1)
    round_trip_depth: int = Field(default=10, ge=1)
    similarity: float = Field(default=0.8, gt=0, le=1)
    gain: float = 0.5


class LinksConfig(_Settings):
    """Which questions of the user's log are linked to a passage.

    Attributes:
        min_confidence: Lowest confidence kept, in [0, 1].
    """

    min_confidence: float = Field(default=0.9, ge=0, le=1)


class NegativesConfig(_Settings):
    """How hard negatives are chosen for each question (step 4 of ALoFTRAG).

    Attributes:
        count: Negatives kept per question; the paper's 9 fill 10 contexts.
        depth: Ranks searched for them.
        skip: First ranks that are left out.
        retriever: Whose ranks they are; scores and margins are the embedder's all the same.
        guards: What keeps a passage that may answer the question from being a negative: it shares
            most of its text with the right one (and is a further positive), it holds the answer,
            it scores about as well as the right one, a reranker (`reranker`) finds it as good, or
            the teacher finds the answer as likely from it. The paper has none.
        copy_threshold: Share of runs of four words from which on a passage is a copy.
        margin: Share of the positive's score that a negative must stay below it, in [0, 1):
            what scores about as well as the positive may hold the answer too. Default of
            NV-Retriever (arXiv:2407.15831).
    """

    count: int = Field(default=9, ge=1)
    depth: int = Field(default=100, ge=1)
    skip: int = Field(default=0, ge=0)
    retriever: Retriever = "dense"
    guards: tuple[Guard, ...] = ("copy", "answer", "margin")
    copy_threshold: float = Field(default=0.8, gt=0, le=1)
    margin: float = Field(default=0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _count_fits_depth(self) -> Self:
        if self.count > self.depth:
            raise ValueError(
                f"count is {self.count}, but it must lie between 1 and depth ({self.depth}). "
                "Lower count or raise depth."
            )
        return self


class TrainingSetsConfig(_Settings):
    """What the parts are trained and tested on.

    Attributes:
        held_out_share: Share of documents whose questions are kept for evaluation.
        format: What the generator is asked for and trained to reply: "aloftrag": the passages that
            hold the answer, then the answer; "raft": what they say, word for word, before that;
            "ralt": the answer alone.
        abstaining_share: Share of the generator's rows whose right passages are left out, for it to
            say that none holds the answer: questions that other rows ask with them, so that nothing
            but the passages tells. In the evaluation it is then asked everything once more without
            the right passages.
        contexts: Passages in a generator prompt; the paper's 10.
        min_contexts: Passages in the smallest of its rows; each number from there to `contexts`
            is as frequent as the others. None: as many in all, as in the paper.
        embedder_negatives: Hard negatives per embedder row, beside those in the batch.
        reranker_negatives: Hard negatives per reranker question.
        max_generator_rows: Generator rows, drawn with the run's seed; None: one per pair, and those
            of `abstaining_share`.
        log_repeat: How often each question of the user's log stands among the rows; 0: never.
        replay_ratio: Where a run goes on from an earlier one, how many of its pairs are trained on
            again for each new pair; where no pair is new, all are.
    """

    held_out_share: float = Field(default=0.2, gt=0, lt=1)
    format: FormatName = "aloftrag"
    abstaining_share: float = Field(default=0.0, ge=0, le=0.5)
    contexts: int = Field(default=10, ge=2)
    min_contexts: int | None = Field(default=None, ge=2)
    embedder_negatives: int = Field(default=1, ge=0)
    reranker_negatives: int = Field(default=4, ge=1)
    max_generator_rows: int | None = Field(default=None, ge=1)
    log_repeat: int = Field(default=2, ge=0)
    replay_ratio: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _fewest_are_no_more(self) -> Self:
        if self.min_contexts is not None and self.min_contexts > self.contexts:
            raise ValueError(
                f"min_contexts is {self.min_contexts}, but contexts is {self.contexts}. "
                "Lower the first or raise the second."
            )
        return self

    @property
    def abstains(self) -> bool:
        """Whether the generator may say that no passage holds the answer."""
        return self.abstaining_share > 0


class EmbedderTrainingConfig(_Settings):
    """How the embedder is trained; values of the practice guides (1-3 epochs, 10 % warm-up).

    Attributes:
        loss: "contrastive": the right passage against all others of a batch and the hard negatives
            (a batch of any size in the memory of 16 texts); "guided": the same without those that
            the untuned embedder finds nearer than the right one; "triplet": the right one against
            each hard negative; "graded" (CoSENT) and "distilled" (margins, as in GPL): the order,
            and the differences, of what `reranker` says of right and wrong ones.
        matryoshka: Dimensions in which the loss is worked out too, so that shorter vectors serve.
        method: "all" weights; "lora": low-rank updates of all layers, merged before saving;
            "query_lora" and "query_adapter": the same for questions alone, or one linear map of
            their vectors: what is indexed stays, passages need not be embedded anew.
        r: Rank of low-rank updates.
        max_seq_length: Tokens of a text that training reads; what is trained reads as many as ever.
    """

    loss: EmbedderLoss = "contrastive"
    matryoshka: tuple[int, ...] = ()
    method: Literal["all", "lora", "query_lora", "query_adapter"] = "all"
    r: int = Field(default=16, ge=1)
    num_train_epochs: float = Field(default=3.0, gt=0)
    learning_rate: float = Field(default=5e-5, gt=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    per_device_train_batch_size: int = Field(default=64, ge=2)
    max_seq_length: int = Field(default=256, ge=16)

    @property
    def keeps_index(self) -> bool:
        """Whether vectors of passages stay what they are."""
        return self.method.startswith("query_")

    @model_validator(mode="after")
    def _fixed_passages_have_one_loss(self) -> Self:
        if self.keeps_index and (self.loss != "contrastive" or self.matryoshka):
            raise ValueError(
                f'method is "{self.method}", which leaves passages as they are and knows the loss '
                '"contrastive" alone, without matryoshka. Set method to "all" or "lora".'
            )
        return self


class RerankerTrainingConfig(_Settings):
    """Cross-encoder training on the mined negatives.

    Attributes:
        loss: "binary": each passage by itself, right or wrong (cross-entropy); "listwise": the
            order of a question's passages, by what a swap costs in nDCG (LambdaLoss).
        method: "all" weights; "lora": low-rank updates of all layers, merged before saving.
        r: Rank of low-rank updates.
        max_seq_length: Tokens of a pair that training reads; what is trained reads as many as ever.
    """

    loss: Literal["binary", "listwise"] = "binary"
    method: Literal["all", "lora"] = "all"
    r: int = Field(default=16, ge=1)
    num_train_epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=5e-5, gt=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    per_device_train_batch_size: int = Field(default=32, ge=1)
    max_seq_length: int = Field(default=256, ge=16)


class GeneratorTrainingConfig(_Settings):
    """How the generator learns its format; defaults are ALoFTRAG's LoRA (its Appendix C).

    Attributes:
        init_adapter: Folder of an adapter to continue training; it keeps its rank and kind. None: a
            new one.
        method: "lora"; "rslora", whose scale suits large ranks; "dora", which learns lengths and
            directions apart, slower, and closer to training all weights; "qlora", beside
            weights that training holds in 4 bits, on an NVIDIA GPU (answers are read with the
            weights as they are); or "full", all weights, which take a rate about a tenth as high
            and 16 bytes of memory each.
        per_device_train_batch_size: Rows of a step. They are computed one by one: a batch takes
            the memory of a row.
        max_length: Tokens of a row; a longer one is left out.
        citation_weight: How many times a token that names the passages counts as one of the answer:
            of thirty tokens of a reply it is one, and the one that a small model gets wrong.
        gradient_checkpointing: Whether layers are computed once more on the way back, for less
            memory; None: where the training would otherwise not fit. It changes no result.
    """

    init_adapter: str | None = None
    method: Literal["lora", "rslora", "dora", "qlora", "full"] = "lora"
    r: int = Field(default=64, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    num_train_epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    per_device_train_batch_size: int = Field(default=1, ge=1)
    max_length: int = Field(default=20_000, ge=64)
    citation_weight: float = Field(default=10.0, ge=1)
    gradient_checkpointing: bool | None = None


class RagTrainingConfig(_Settings):
    """How a strategy trains on what was retrieved; each part brings its own settings along.

    Where the generator is trained its epochs, batches (of questions, with k prompts each) and
    schedule hold, for the embedder beside it too, which keeps its learning rate.

    Attributes:
        marginal: What answers are summed over, passage by passage: whole ones ("sequence"), or each
            token by itself ("token").
        k: Passages retrieved for a question; RAG has 5 or 10.
        temperature: With the likelihood of an answer, by which passages are told apart; the lower,
            the more the best one counts. REPLUG's 0.1.
    """

    marginal: Literal["sequence", "token"] = "sequence"
    k: int = Field(default=5, ge=2)
    temperature: float = Field(default=0.1, gt=0)


class EvaluationConfig(_Settings):
    """What is measured, on how many questions.

    Attributes:
        rerank_depth: Passages that the reranker reorders.
        max_answer_questions: Questions per set that the generators answer; retrieval uses all.
        max_stack_questions: Questions that every combination of kept parts answers end to end.
        max_new_tokens: Longest answer; the paper's 2048 for large models.
        resamples: Bootstrap resamples of questions behind each 95 % interval.
        min_human_questions: From so many of the user's own questions on, they decide what is
            kept; with fewer the synthetic ones do.
        probes: Whether both generators are asked a few questions more, to see what they do with
            the right passage at each place, with 2 to 20 passages and with none
            (`aloft evaluate RUN --probes`).
    """

    rerank_depth: int = Field(default=20, ge=1)
    max_answer_questions: int | None = Field(default=250, ge=1)
    max_stack_questions: int | None = Field(default=100, ge=1)
    max_new_tokens: int = Field(default=256, ge=8)
    resamples: int = Field(default=10_000, ge=100)
    min_human_questions: int = Field(default=50, ge=1)
    probes: bool = False


class RunConfig(_Settings):
    """One run, whole.

    Attributes:
        teacher: Writes the data: an `embedded:` name, a folder, a Hugging Face id, any of them
            behind `vllm:` to be run by vLLM, or `openai:URL#MODEL` for a server that speaks
            OpenAI's protocol.
        generator: Trained to cite and answer; None: the teacher, as in ALoFTRAG, without `vllm:`.
            One that is named with it is trained as ever and answers in vLLM.
        embedder: Encoder to train.
        reranker: Cross-encoder to train; None: one is started from the embedder's body, and
            there is none before training.
        parts: What to train.
        strategy: How embedder and generator are trained: "independent", each by its own rows; or,
            without being told the right passage, "two_phase", the generator and then the embedder;
            "joint", both at once; "lsr", the embedder by what makes answers likely; "ra_dit", the
            generator by its rows and then the embedder so. See `aloft.config.strategies`.
        earlier: Folder of a finished run to go on from: its parts are trained further, what its
            teacher said of unchanged passages counts, and what it held out stays held out.
        allow_remote: Whether a server may stand outside this machine and its private network;
            the report then says that text left.
    """

    teacher: str
    generator: str | None = None
    embedder: str
    reranker: str | None = None
    parts: tuple[Part, ...] = PARTS
    strategy: Strategy = "independent"
    seed: int = 0
    earlier: str | None = None
    allow_remote: bool = False
    documents: DocumentsConfig = DocumentsConfig()
    passages: PassagesConfig = PassagesConfig()
    ratings: RatingsConfig = RatingsConfig()
    pairs: PairsConfig = PairsConfig()
    filters: FiltersConfig = FiltersConfig()
    links: LinksConfig = LinksConfig()
    negatives: NegativesConfig = NegativesConfig()
    training_sets: TrainingSetsConfig = TrainingSetsConfig()
    embedder_training: EmbedderTrainingConfig = EmbedderTrainingConfig()
    reranker_training: RerankerTrainingConfig = RerankerTrainingConfig()
    generator_training: GeneratorTrainingConfig = GeneratorTrainingConfig()
    rag_training: RagTrainingConfig = RagTrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def generator_model(self) -> str:
        """The language model that is trained to answer."""
        return self.generator or plain_name(self.teacher)

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the models that stand behind a server."""
        names = dict.fromkeys((self.teacher, self.generator_model))
        return tuple(name for name in names if name.startswith(SERVER))

    @model_validator(mode="after")
    def _only_teachers_are_served(self) -> Self:
        trained = {"embedder": self.embedder, "reranker": self.reranker or ""}
        if "generator" in self.parts or self.strategy != "independent":
            trained["generator"] = self.generator_model
        for part, name in trained.items():
            if name.startswith(SERVER):
                raise ValueError(
                    f"the {part} is {name}, but a model behind a server can not be trained. Set "
                    f"{part} to a model on this machine, or choose other parts (--only)."
                )
            if name.startswith(VLLM) and part != "generator":
                raise ValueError(
                    f"the {part} is {name}, but vLLM runs language models alone. Set {part} to "
                    f"{plain_name(name)}."
                )
        generator = trained.get("generator", "")
        if generator.startswith(VLLM) and self.generator_training.method == "dora":
            raise ValueError(
                f"the generator is {generator}, but vLLM runs no DoRA adapters. Set "
                'generator_training.method to "lora" or "rslora".'
            )
        return self

    @model_validator(mode="after")
    def _a_strategy_has_what_it_needs(self) -> Self:
        if self.strategy == "independent":
            return self
        needed = needed_by(self.strategy)
        wanted = tuple(part for part in self.parts if part != "reranker")
        fixes = {
            f"parts to {list(needed)}, with the reranker or without": set(wanted) == set(needed),
            'embedder_training.method to "query_lora" or "query_adapter"': (
                self.embedder_training.keeps_index
            ),
            'training_sets.format to "ralt"': self.training_sets.format == "ralt",
        }
        if not all(fixes.values()):
            missing = "; ".join(fix for fix, is_done in fixes.items() if not is_done)
            raise ValueError(
                f'strategy is "{self.strategy}", which trains {" and ".join(needed)}, the embedder '
                f"for questions alone, by answers without citations. Set {missing}."
            )
        return self

    @model_validator(mode="after")
    def _there_is_a_reranker_to_ask(self) -> Self:
        asks = {
            'negatives.guards holds "reranker"': "reranker" in self.negatives.guards,
            f'embedder_training.loss is "{self.embedder_training.loss}"': (
                "embedder" in self.parts and self.embedder_training.loss in GRADED
            ),
        }
        for what, does_ask in asks.items():
            if does_ask and self.reranker is None:
                raise ValueError(
                    f"{what}, but there is no reranker before training. Set reranker to a "
                    "cross-encoder on this machine, or choose another."
                )
        return self

    @model_validator(mode="after")
    def _negatives_fill_contexts(self) -> Self:
        needed = max(
            self.training_sets.contexts - 1,
            self.training_sets.embedder_negatives,
            self.training_sets.reranker_negatives,
        )
        if self.negatives.count < needed:
            raise ValueError(
                f"negatives.count is {self.negatives.count}, but the training sets need {needed}. "
                "Raise negatives.count or lower training_sets.contexts."
            )
        return self


_PAPER: dict[str, Any] = {
    "parts": ("generator",),  # all that the paper trains; ask for more with --only
    "teacher": "Qwen/Qwen2-7B-Instruct",
    "embedder": "BAAI/bge-m3",
    "ratings": {"method": "generate", "min_rating": 8.0, "drop_share": 0.0},
    "pairs": {"form": "paper", "per_passage": 1},
    "filters": {"use": ()},
    "negatives": {"count": 9, "depth": 10, "margin": 0.0, "guards": ()},
    "generator_training": {"citation_weight": 1.0, "gradient_checkpointing": True},
    "evaluation": {"max_new_tokens": 2048, "max_answer_questions": None},
}
_CPU: dict[str, Any] = {
    "teacher": "embedded:smollm2-135m-instruct",
    "embedder": "embedded:all-minilm-l6-v2",
    "ratings": {"method": "none"},
    "pairs": {"form": "examples", "max_passages": 1500, "max_new_tokens": 64},
    "training_sets": {"contexts": 5, "max_generator_rows": 500},
    "generator_training": {
        "r": 32,
        "lora_dropout": 0.0,  # one epoch needs none, and drawing it costs a fifth of a step
        "learning_rate": 5e-4,
        "warmup_share": 0.05,
        "per_device_train_batch_size": 4,
        "max_length": 4096,
    },
    "evaluation": {"max_new_tokens": 48, "max_answer_questions": 120, "max_stack_questions": 60},
}


def _sized(r: int, max_length: int, contexts: int) -> dict[str, Any]:
    """For a GPU; its models are the user's choice, and it names none."""
    return {
        "training_sets": {"contexts": contexts},
        "generator_training": {
            "r": r,
            "lora_dropout": 0.0,  # as on a processor
            "warmup_share": 0.05,
            "per_device_train_batch_size": 8,
            "max_length": max_length,
        },
    }


# Sized by the plan (`aloft.training.memory`) to train, with the longest rows they take, a
# generator in half precision of 1.5, 3, 7 and 14 billion parameters. None is measured on a GPU yet.
PRESETS: dict[str, dict[str, Any]] = {
    "cpu": _CPU,
    "8gb": _sized(r=16, max_length=4096, contexts=5),
    "12gb": _sized(r=16, max_length=4096, contexts=5),
    "24gb": _sized(r=32, max_length=4096, contexts=10),
    "80gb": _sized(r=64, max_length=16_384, contexts=10),
    "paper": _PAPER,
}
DEFAULT = "cpu"


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    after: Path | None = None,
) -> RunConfig:
    """Lay a TOML file over a preset, or over an earlier run's settings, and single choices on top.

    Args:
        preset: Its name; None: "cpu".
        file: Settings that differ.
        overrides: Settings that differ once more.
        after: A finished run to go on from, in place of a preset.

    Raises:
        ConfigError: the preset is unknown, the file can not be read, or settings are at fault;
            all faults are reported at once.
    """
    if preset is not None and preset not in PRESETS:
        known = ", ".join(PRESETS)
        raise ConfigError(f'There is no preset "{preset}". It may be one of: {known}.')
    own = _merge(_read_toml(file) if file else {}, overrides or {})
    below = PRESETS[preset or DEFAULT] if after is None else _settings_after(after, preset, own)
    return check_config(_merge(below, own))


def _settings_after(run: Path, preset: str | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a finished run, to be laid under those of one that goes on from it."""
    named = [*(["preset"] if preset else []), *(part for part in PARTS if own.get(part))]
    if named:
        raise ConfigError(
            f"{named[0]} is set, but a run that goes on from {run} takes it from there. "
            "Leave one of the two out."
        )
    path = run / "config.json"
    if not path.exists():
        raise ConfigError(f"{run} is no run folder. Name a finished run to go on from.")
    settings: dict[str, Any] = json.loads(path.read_bytes())
    return settings | {"earlier": str(run.resolve())}


def check_config(values: Mapping[str, Any]) -> RunConfig:
    """Check settings, reporting every fault in one line each.

    Raises:
        ConfigError: settings are at fault.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_explain, error.errors()))) from error


def _explain(fault: Mapping[str, Any]) -> str:
    name = ".".join(map(str, fault["loc"])) or "settings"
    if fault["type"] == "extra_forbidden":
        return f"There is no setting {name}. It may be one of: {_siblings(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{name} is not set, and the preset names no model. Name one that fits this machine"
    return f"{name}: {fault['msg'].removeprefix('Value error, ')}"


def _siblings(place: Sequence[str | int]) -> str:
    settings: Any = RunConfig
    for name in place[:-1]:
        settings = settings.model_fields[name].annotation
    return ", ".join(settings.model_fields)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} can not be read ({error.strerror}). Check --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merge(merged[name], value)
        else:
            merged[name] = value
    return merged
