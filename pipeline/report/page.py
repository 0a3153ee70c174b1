"""Owns the report's first page: a heading, the sections of each data set, and how to reproduce it.

A page is one file that opens anywhere: its pictures and drawings are part of it, and it names no
address but those of the other pages of its report.
"""

from pathlib import Path

from gan.config import Params
from pipeline.drawing.templates import page_template
from pipeline.report.results import Results
from pipeline.report.sections import SECTIONS


def render_page(results: list[Results], params: Params) -> str:
    """Render the first page of a study. Deterministic: equal artefacts give equal bytes."""
    pages = [(found, [section for section in SECTIONS if section.is_shown(found)]) for found in results]
    return page_template(Path(__file__).parent, "report.html.j2").render(params=params, pages=pages)
