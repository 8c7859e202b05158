"""What all wire types share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_pascal


class Wire(BaseModel):
    """A JSON object of the Engine API: PascalCase members; unknown ones are ignored; `null` means the default."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_pascal, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: member for key, member in value.items() if member is not None}
        return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
"""Go's int64."""

Words = Annotated[list[str], BeforeValidator(_listed)]
"""A command: a list, or one string that stands for a list of one (docker's strslice)."""
