"""Owns the page of one variant: its samples, course, curves, scores, recipe and what others published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from gan.config import Params, Recipe
from gan.files import read_json
from pipeline.drawing.numbers import short_number
from pipeline.drawing.pictures import (
    GAP,
    along_the_run,
    animate,
    data_uri,
    enlarge,
    lay_out,
    png_uri,
    read_grid,
    read_overview,
    read_samples,
)
from pipeline.drawing.svg import Chart
from pipeline.drawing.templates import page_template
from pipeline.report.columns import MetricLine, metric_lines
from pipeline.report.history_charts import CHARTS, draw_charts
from pipeline.report.published import Publication, read_published
from pipeline.report.quality_charts import draw_courses
from pipeline.report.results import GRID, PicturedRun, Results
from pipeline.report.sentences import CourseLine, SeedLine, course_lines
from pipeline.scores.history import read_history
from pipeline.stage import find_recipe
from pipeline.study.settings import Setting, list_settings

TRACKED = 4  # noise vectors followed along a run
ANIMATED_SIDE = 200  # pixels of an animation, which holds as many images a side as fit; browsers enlarge it


@dataclass(frozen=True)
class VariantPage:
    """What one variant's page shows beside its run's scores and samples."""

    run: PicturedRun
    samples: str
    animation: str  # the same noise along the run
    still: str  # its last frame, for readers who want no motion
    changing: str  # other noise in each frame
    changing_still: str
    course: str
    course_steps: list[str]
    ways: str  # rows of images from one noise vector to another
    compared: str  # samples, and below each the training image nearest to it
    distances: list[str]
    courses: list[Chart]  # this variant's scores along the run, among the others'
    course_lines: list[CourseLine]
    charts: list[Chart]
    meanings: list[tuple[str, str]]  # title of a chart and what it shows
    metrics: list[MetricLine]
    seeds: list[SeedLine]  # one line where there are several seeds
    origin: str  # what the recipe says of the entry as a whole
    settings: list[Setting]
    published: list[Publication]  # those that have a score for this kind


def render_variants(results: list[Results], params: Params) -> Iterator[tuple[str, str]]:
    """Yield file name and content of each variant's page. Raises DataError for what it can't read."""
    template = page_template(Path(__file__).parent, "variant.html.j2")
    sources = read_published()
    for section in results:
        runs = section.runs
        for before, run, after in zip([None, *runs], runs, [*runs[1:], None], strict=False):
            page = _variant_page(section, run, find_recipe(run.cell, params), sources)
            names = {"page": page, "run": run, "section": section, "before": before, "after": after}
            yield run.page, template.render(names, Markup=Markup)


def _variant_page(
    section: Results, run: PicturedRun, recipe: Recipe, sources: list[Publication]
) -> VariantPage:
    cell, method = run.cell, run.card.method
    previews = sorted((cell.model / "previews").glob("*.png"))
    pictures = [read_grid(path, run.card.shape) for path in previews]
    steps = [int(path.stem) for path in previews]
    columns = min(8, max(2, ANIMATED_SIDE // (run.card.shape.width + GAP)))
    frames = [lay_out(picture[: columns * columns], columns) for picture in pictures]
    strand = next(strand for strand in section.quality.strands if strand.holds(cell.key))
    course = next(track.course for track in strand.tracks if track.key == cell.key)
    drawn = read_samples(cell.trajectory / "images.npy")
    others = [lay_out(images[: columns * columns], columns) for images in drawn]
    charts = draw_charts(read_history(cell))
    samples = read_overview(cell.samples / "averaged.npy", GRID)
    ways = read_samples(cell.samples / "interpolation.npy")
    nearest = read_samples(cell.samples / "nearest.npy")
    pairs = np.concatenate([read_samples(cell.samples / "averaged.npy", len(nearest)), nearest])
    distances = read_json(cell.samples / "nearest.json")["distances"]
    return VariantPage(
        run=run,
        samples=data_uri(enlarge(lay_out(samples, columns=8))),
        animation=png_uri(animate(frames, [step / max(steps[-1], 1) for step in steps])),
        still=data_uri(frames[-1]),
        changing=png_uri(animate(others, [point.step / max(course.last.step, 1) for point in course.points])),
        changing_still=data_uri(others[-1]),
        course=data_uri(enlarge(along_the_run(pictures, TRACKED))),
        course_steps=[short_number(step) for step in steps],
        ways=data_uri(enlarge(lay_out(ways.reshape(-1, *ways.shape[2:]), columns=ways.shape[1]))),
        compared=data_uri(enlarge(lay_out(pairs, columns=len(nearest)), 3)),
        distances=[f"{distance:.0f}" for distance in distances],
        courses=draw_courses(section.quality.strands, alone=strand.index),
        course_lines=course_lines({track.name: track.course for track in strand.tracks}),
        charts=charts,
        meanings=_meanings(charts),
        metrics=metric_lines(section.board, run.row),
        seeds=[line for line in section.seeds if line.name == run.name],
        origin=recipe.origin,
        settings=list(list_settings(method, recipe.departures)),
        published=[source for source in sources if source.of_kind(method.kind)],
    )


def _meanings(charts: list[Chart]) -> list[tuple[str, str]]:
    """Say what each kind of chart shows, in the order of the charts."""
    found = {chart.title for chart in charts if chart.meaning}
    return [(kind.title, kind.meaning) for kind in CHARTS if kind.title in found]
