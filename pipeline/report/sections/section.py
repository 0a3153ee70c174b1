"""Owns what a section of the first page is: its link, and a template that sees one data set's results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from gan.config import Params
from pipeline.drawing.templates import page_template
from pipeline.report.columns import meaning_of
from pipeline.report.results import Results


class PageSection(NamedTuple):
    """One section of the first page, once for each data set; its element has the id NAME-DATASET.

    The template sees `results`, `params`, `at` (the data set's name), `protocol` (the name of the FID), and
    as `data` what `read` returns.
    """

    name: str
    link: str  # its text in the page's navigation
    template: str  # name of a file in this folder, or the text of a template
    read: Callable[[Results], Any] = lambda results: None  # may raise DataError for what it can't read
    is_shown: Callable[[Results], bool] = lambda results: True

    def render(self, results: Results, params: Params) -> Markup:
        """Write the section as HTML."""
        template = page_template(Path(__file__).parent, self.template)
        board = results.board
        names = {"at": board.dataset, "protocol": board.protocol, "data": self.read(results)}
        names |= {"results": results, "params": params, "meaning_of": meaning_of, "Markup": Markup}
        return Markup(template.render(names))  # noqa: S704  # its values are escaped
