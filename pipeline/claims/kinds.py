"""Owns the list of the kinds of test that a claim may name."""

from typing import Annotated

from pydantic import Field

from pipeline.claims.groups import Comparison, Equivalence, Interaction
from pipeline.claims.runs import Collapse, Correlation, CurveShape, Duration

Test = Annotated[
    Comparison | Interaction | Equivalence | Duration | Correlation | Collapse | CurveShape,
    Field(discriminator="kind"),
]
