"""Sections of the first page, in their order. A further one is a module of this folder and a line here."""

from pipeline.report.sections.section import PageSection

SECTIONS = (
    PageSection("scores", "Scores", "scores.html.j2"),
    PageSection("quality", "Quality along the run", "quality.html.j2"),
    PageSection("noise", "Same noise", "noise.html.j2"),
    PageSection("samples", "Samples", "samples.html.j2", is_shown=lambda results: results.grid > 0),
    PageSection("data", "Real images", "data.html.j2"),
    PageSection("runs", "What was run", "runs.html.j2"),
)
