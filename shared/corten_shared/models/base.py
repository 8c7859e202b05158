"""What every record has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable value; unknown members are refused, so a misspelt request says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(BaseModel):
    """A document that others write (manifests, configs): unknown members are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
