"""The base class of all settings: frozen, strictly typed, with every fault reported at once."""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

NOT_SET = "none"  # how TOML, which has no null, writes None


def _is_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty. Write a value, or leave the setting out.")
    return text


Text = Annotated[str, AfterValidator(_is_not_blank)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Share = Annotated[float, Field(gt=0, le=1)]
Epochs = Annotated[float, Field(gt=0, le=1000)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Rank = Annotated[int, Field(ge=1, le=65_536)]  # of low-rank updates
Tokens = Annotated[int, Field(ge=16, le=10_000_000)]


class Settings(BaseModel):
    """Settings of one stage, or of a whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def contradictions(self) -> Iterator[str]:
        """Settings that do not fit together, each as a sentence that says what to change."""
        yield from ()

    @model_validator(mode="before")
    @classmethod
    def _accept_what_files_can_write(cls, values: Any) -> Any:
        """Lists stand for tuples, "none" for None, and path objects for strings."""
        if not isinstance(values, Mapping):
            return values
        fields = cls.model_fields
        return {
            name: _as_typed(fields[name], value) if name in fields else value
            for name, value in values.items()
        }

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        found = list(self.contradictions())
        if found:
            raise ValueError(" ".join(found))
        return self


def _as_typed(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, list) and get_origin(field.annotation) is tuple:
        return tuple(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value == NOT_SET and type(None) in get_args(field.annotation):
        return None
    return value
