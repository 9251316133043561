"""The fields and call options that LangChain's chat model and LLM over a local model share."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from aloft.api import LanguageModel, Reply, SharedModels, generator_fields, reply_limits
from aloft.config import FolderName, ModelName

# LangChain's standard parameters of models behind a service; a local model has no use for them
_OF_SERVICES = frozenset({"api_key", "max_retries", "streaming", "timeout"})

_PLACES = frozenset({"model", "adapter", "models"})  # fields that say where the weights are


class LocalModel(BaseModel):
    """A local language model, tuned or not.

    Attributes:
        model: An `embedded:` name, a folder, a Hugging Face id that is on this machine, `vllm:` and
            one of these, or `openai:URL#MODEL` for a model that a server has loaded.
        adapter: Folder of a LoRA adapter.
        max_tokens: Maximum length of a reply, in tokens.
        temperature: Always 0: replies are greedy.
        stop: Strings that end a reply, unless a call names others.
        models: Loads the model; pass one object to several components to share weights.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: ModelName
    adapter: FolderName | None = None
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=0.0)
    stop: list[str] | None = None
    models: SkipJsonSchema[SharedModels] = Field(
        default_factory=SharedModels, exclude=True, repr=False
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_parameters_of_services(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if name not in _OF_SERVICES}

    @classmethod
    def from_run(cls, run_folder: str | Path, **fields: Any) -> Self:
        """The generator that a run ships, with its adapter if tuning it gained.

        Args:
            run_folder: A finished run.
            **fields: The other fields; `model` names another server of the same generator.

        Raises:
            DataError: the folder holds no finished run.
        """
        return cls(**generator_fields(Path(run_folder), fields))

    @property
    def loaded(self) -> LanguageModel:
        """The model; its weights are loaded on the first call."""
        return self.models.language_model(self.model, Path(self.adapter) if self.adapter else None)

    @property
    def fingerprint(self) -> str:
        """Identifies weights, adapter, tokenizer and chat template, by content.

        Raises:
            ModelError: the model is not on this machine, or a server whose model is not named does
                not respond.
        """
        return self.loaded.fingerprint

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain's `dumps` writes it: its fields, from which `loads` makes another."""
        return True

    @property
    def _llm_type(self) -> str:
        return "aloft"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """All that decides a reply to a prompt; LangChain's caches are keyed by it.

        Where the model lies is left out: a folder may be moved, and be trained again in place.
        """
        settings = {name: getattr(self, name) for name in LocalModel.model_fields.keys() - _PLACES}
        settings["default_stop"] = settings.pop("stop")  # LangChain writes a call's over "stop"
        return {"model": _title_of(self.model), "fingerprint": self.fingerprint, **settings}

    def limits(self, stop: list[str] | str | None, options: dict[str, Any]) -> dict[str, Any]:
        """The limits of a reply, by the options of a call or else by the fields.

        Raises:
            ConfigError: an option is unknown.
        """
        asked = {key: value for key, value in options.items() if key != "stream"}
        return reply_limits(
            {**asked, "stop": stop}, max_tokens=self.max_tokens, stop=self.stop or ()
        )

    def facts_of(self, reply: Reply) -> dict[str, Any]:
        """The metadata of a complete reply."""
        return {
            "model_name": self.model,
            "finish_reason": "stop" if reply.is_finished else "length",
        }


def _title_of(model: str) -> str:
    """The name of a model, or of its folder without the way there."""
    return Path(model).name if Path(model).is_absolute() else model
