"""The settings of a whole run, and how those of different stages must fit together."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from aloft.config.base import Settings, Text
from aloft.config.corpus import DocumentsConfig, PassagesConfig
from aloft.config.datasets import TrainingSetsConfig
from aloft.config.evaluation import EvaluationConfig
from aloft.config.federation import FederationConfig
from aloft.config.model_names import (
    SERVER,
    VLLM,
    LanguageModelName,
    absolute_folder,
    absolute_name,
    plain_name,
    server_names,
)
from aloft.config.retrieval import LinksConfig, NegativesConfig
from aloft.config.strategies import Strategy, needed_by, phases_of, trained_before
from aloft.config.synthesis import FiltersConfig, PairsConfig, RatingsConfig
from aloft.config.training import (
    GRADED,
    EmbedderTrainingConfig,
    GeneratorTrainingConfig,
    RagTrainingConfig,
    RerankerTrainingConfig,
)

Part = Literal["embedder", "reranker", "generator"]
PARTS: tuple[Part, ...] = ("embedder", "reranker", "generator")


def _are_some_parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    if not parts or len(set(parts)) < len(parts):
        raise ValueError(f"list one or more of {', '.join(PARTS)}, each once.")
    return parts


class RunConfig(Settings):
    """All settings of a run.

    Attributes:
        teacher: Model that writes the training data: an `embedded:` name, a folder, a Hugging Face
            id, any of these after `vllm:` to run it in vLLM, or `openai:URL#MODEL` for a server
            that speaks OpenAI's protocol. A list of servers that have the same model shares the
            work among them.
        generator: Model that is trained to cite and answer; None: the teacher, as in ALoFTRAG,
            without `vllm:`. With `vllm:` it is trained as any other and answers in vLLM.
        embedder: Encoder to train.
        reranker: Cross-encoder, multi-vector model or causal language model that reranks, and is
            trained where it is among `parts`; None: late interaction by the embedder's body, which
            reranks before training too. One that reads question and passage together reads the
            first of what late interaction orders, a multi-vector model takes its place. A language
            model ranks by how likely the question is after a passage; trained, by whether it says
            yes.
        parts: Which parts to train.
        strategy: How embedder and generator are trained. "independent": each on its own rows. The
            others learn from retrieved passages without knowing the right one: "two_phase", the
            generator and then the embedder; "joint", both at once; "lsr", the embedder by which
            passages make answers likely; "ra_dit", the generator on its own rows and then the
            embedder as in "lsr". See `aloft.config.strategies`.
        seed: Seed of everything that is drawn at random, from 0 to 4294967295.
        earlier: Folder of a finished run to continue from: its parts are trained further, its
            teacher's replies about unchanged passages are reused, and its held-out documents stay
            held out.
        allow_remote: Whether a server may stand outside this machine and its private network; the
            report then says that text left the machine.
        documents: Which files are read.
        passages: How documents are split.
        ratings: Which passages are asked about.
        pairs: How questions and answers are written.
        filters: Which pairs are kept.
        links: Which logged questions are linked to a passage.
        negatives: How hard negatives are chosen.
        training_sets: What the parts are trained and evaluated on.
        embedder_training: How the embedder is trained.
        reranker_training: How the reranker is trained.
        generator_training: How the generator is trained.
        rag_training: How a strategy trains on retrieved passages.
        evaluation: What is measured.
        federation: How sites train together; see `aloft federate`.
    """

    teacher: LanguageModelName
    generator: LanguageModelName | None = None
    embedder: Text
    reranker: Text | None = None
    parts: Annotated[tuple[Part, ...], AfterValidator(_are_some_parts)] = PARTS
    strategy: Strategy = "independent"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # as NumPy's generators take it
    earlier: Text | None = None
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
    federation: FederationConfig = FederationConfig()

    @property
    def generator_model(self) -> str:
        """The language model that is trained to answer."""
        return self.generator or plain_name(self.teacher)

    def base_model(self, part: Part) -> str:
        """Name of the model that a part is trained from, or of one as large.

        A reranker that starts from the tuned embedder's body is as large as the untuned one.
        """
        bases: dict[Part, str] = {
            "embedder": self.embedder,
            "reranker": self.reranker or self.embedder,
            "generator": plain_name(self.generator_model),
        }
        return bases[part]

    @property
    def takes_body(self) -> bool:
        """Whether the reranker is the tuned embedder's body, without training of its own."""
        return self._has_tuned_body and self.reranker_training.num_train_epochs is None

    @property
    def starts_from_body(self) -> bool:
        """Whether the reranker begins as the tuned embedder's body and is trained further.

        Of an embedder that leaves passages as they are there are two, which are not trained as one.
        """
        is_whole = not self.embedder_training.keeps_index
        return self._has_tuned_body and is_whole and not self.takes_body

    @property
    def _has_tuned_body(self) -> bool:
        if self.reranker is not None or "reranker" not in self.parts:
            return False
        return "embedder" in trained_before("reranker", phases_of(self.strategy, self.parts))

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the servers that models run behind."""
        models = (self.teacher, self.generator_model)
        return tuple(dict.fromkeys(one for name in models for one in server_names(name)))

    def with_absolute_paths(self) -> Self:
        """The same settings wherever the process's working directory moves."""
        names: dict[str, Any] = {
            field: absolute_name(name)
            for field in ("teacher", "generator", "embedder", "reranker")
            if (name := getattr(self, field))
        }
        adapter = self.generator_training.init_adapter
        if adapter:
            changed = {"init_adapter": absolute_folder(adapter)}
            names["generator_training"] = self.generator_training.model_copy(update=changed)
        if self.earlier:
            names["earlier"] = absolute_folder(self.earlier)
        return self.model_copy(update=names)

    def contradictions(self) -> Iterator[str]:
        """Settings of different stages that do not fit together."""
        yield from self._parts_that_cannot_be_trained()
        yield from self._unmet_needs_of_the_strategy()
        yield from self._missing_reranker()
        yield from self._missing_negatives()

    def _parts_that_cannot_be_trained(self) -> Iterator[str]:
        trained = {"embedder": self.embedder, "reranker": self.reranker or ""}
        if "generator" in self.parts or self.strategy != "independent":
            trained["generator"] = self.generator_model
        for part, name in trained.items():
            if name.startswith(SERVER):
                yield (
                    f"the {part} is {name}, but a model behind a server cannot be trained. Set "
                    f"{part} to a model on this machine, or choose other parts (--only)."
                )
            if name.startswith(VLLM) and part != "generator":
                yield (
                    f"the {part} is {name}, but vLLM runs language models only. Set {part} to "
                    f"{plain_name(name)}."
                )
        generator = trained.get("generator", "")
        if generator.startswith(VLLM) and self.generator_training.method == "dora":
            yield (
                f"the generator is {generator}, but vLLM runs no DoRA adapters. Set "
                'generator_training.method to "lora" or "rslora".'
            )

    def _unmet_needs_of_the_strategy(self) -> Iterator[str]:
        if self.strategy == "independent":
            return
        needed = needed_by(self.strategy)
        trained = {part for part in self.parts if part != "reranker"}
        fixes = {
            f"parts to {list(needed)}, with or without the reranker": trained == set(needed),
            'embedder_training.method to "query_lora" or "query_adapter"': (
                self.embedder_training.keeps_index
            ),
            'training_sets.format to "ralt"': self.training_sets.format == "ralt",
        }
        missing = "; ".join(fix for fix, is_done in fixes.items() if not is_done)
        if missing:
            yield (
                f'strategy is "{self.strategy}", which trains {" and ".join(needed)}, the embedder '
                f"for questions alone, on answers without citations. Set {missing}."
            )

    def _missing_reranker(self) -> Iterator[str]:
        if self.reranker is not None:
            return
        if "reranker" in self.negatives.guards:
            yield (
                'negatives.guards includes "reranker", but no reranker is configured. Set reranker '
                "to a cross-encoder on this machine, or remove the guard."
            )
        if "embedder" in self.parts and self.embedder_training.loss in GRADED:
            yield (
                f'embedder_training.loss is "{self.embedder_training.loss}", which needs the '
                "grades of a reranker, but no reranker is configured. Set reranker to a "
                "cross-encoder on this machine, or choose another loss."
            )

    def _missing_negatives(self) -> Iterator[str]:
        needed = max(
            self.training_sets.contexts - 1,
            self.training_sets.embedder_negatives,
            self.training_sets.reranker_negatives,
        )
        if self.negatives.count < needed:
            yield (
                f"negatives.count is {self.negatives.count}, but the training sets need {needed}. "
                "Raise negatives.count or lower training_sets.contexts."
            )
