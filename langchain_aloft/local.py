"""What LangChain's chat model and its LLM over a local model have in common."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from aloft.api import LanguageModel, Reply, SharedModels, generator_fields


class LocalModel(BaseModel):
    """Fields of a local language model, tuned or not.

    Attributes:
        model: An `embedded:` name, a folder, a Hugging Face id that is on this machine, `vllm:` and
            one of these, or `openai:URL#MODEL` for a server that has loaded it.
        adapter: Folder of a LoRA adapter.
        max_tokens: Longest reply.
        temperature: 0, because replies are greedy.
        stop: A reply ends before any of these, where a call names no others.
        models: Where it is loaded from; pass one to several components to share weights.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str
    adapter: str | None = None
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=0.0)
    stop: list[str] | None = None
    models: SharedModels = Field(default_factory=SharedModels, exclude=True, repr=False)

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The generator that a run ships, with its adapter where that one gained.

        Args:
            run_folder: A finished run.
            **fields: The other fields; a `model` among them is what else serves the generator.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(**generator_fields(Path(run_folder), fields))

    @property
    def loaded(self) -> LanguageModel:
        """The model, loaded when it is first called."""
        return self.models.language_model(self.model, Path(self.adapter) if self.adapter else None)

    @property
    def _llm_type(self) -> str:
        return "aloft"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "adapter": self.adapter, "max_tokens": self.max_tokens}

    def limits(self, stop: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
        """What a call asks for, or else the fields."""
        return {
            "max_new_tokens": options.get("max_tokens") or self.max_tokens,
            "stop": stop or self.stop or (),
        }

    def facts_of(self, reply: Reply) -> dict[str, Any]:
        """What is told beside a whole reply."""
        return {
            "model_name": self.model,
            "finish_reason": "stop" if reply.is_finished else "length",
        }
