"""Owns the list of the kinds of test that a claim may name."""

from typing import Annotated, get_args

from pydantic import Field

from gan.contract import StrictModel
from pipeline.claims.groups import Comparison, Equivalence, Interaction
from pipeline.claims.runs import Collapse, Correlation, CurveShape, Duration, Shape

Test = Annotated[
    Comparison | Interaction | Equivalence | Duration | Correlation | Collapse | CurveShape,
    Field(discriminator="kind"),
]

# Each kind of test and of shape: fields that a misspelt one is told beside.
MODELS: dict[str, type[StrictModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for union in (Test, Shape)
    for model in get_args(get_args(union)[0])
}
