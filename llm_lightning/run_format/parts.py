"""What the parts of ``summary.json`` are made of: numbers and texts within their ranges."""

from typing import Annotated

from pydantic import ConfigDict, Field

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Text = Annotated[str, Field(min_length=1)]

PART = ConfigDict(extra="ignore", protected_namespaces=())
"""Of every part of a summary: keys that it does not know, of a later version, are left out."""
