"""Owns the charts of a run's scalars: how they are grouped, what they show, and drawing them as SVG."""

from typing import NamedTuple

import numpy as np

from pipeline.drawing.numbers import short_number
from pipeline.drawing.svg import Chart, Frame, Margins, ticks, value_range
from pipeline.scores.history import AXES, Values, smooth

WIDTH, HEIGHT, MARGINS = 260, 160, Margins(left=44, right=6, top=8, bottom=36)


class Kind(NamedTuple):
    """One kind of chart: its columns in a history, each with the name of its curve, and what it shows."""

    title: str
    columns: dict[str, str]
    meaning: str


def _pair(prefix: str) -> dict[str, str]:
    return {f"{prefix}real": "real", f"{prefix}fake": "fake"}


# Well-known charts, in this order; any other column gets its own chart.
CHARTS = [
    Kind("Critic loss", {"loss/critic": ""}, "what the critic minimises, penalties included"),
    Kind("Generator loss", {"loss/generator": ""}, "what the generator minimises"),
    Kind(
        "W estimate",
        {"critic/wasserstein": "training", "critic/wasserstein_held_out": "held out"},
        "mean D(real) − mean D(fake), the critic's estimate of the distance between real and generated "
        "images. Read it within one run only: a falling W means that the generator gains on its critic. "
        "Its unit is set by the clip or the penalty, and a critic that makes few updates per generator step "
        "stays short of its optimum, so W falls short of the true distance by an unknown amount and ranks no "
        "variant against another. Held out: the same on images that the critic never learns from; where it "
        "falls behind, the critic knows its training images by heart",
    ),
    Kind(
        "Mean score",
        _pair("critic/") | {"critic/held_out": "held out"},
        "the critic's mean output on real images, on generated ones, and on real ones that it never learns "
        "from; where these come down to the fakes, the critic knows its training images by heart",
    ),
    Kind("Penalty", {"critic/penalty": ""}, "the term that bounds the critic, as it stands in its loss"),
    Kind("Gradient norm", {"critic/gradient_norm": ""}, "norm of the critic's gradient in its input"),
    Kind(
        "Energy",
        _pair("critic/energy_") | {"critic/energy_held_out": "held out"},
        "reconstruction error of the critic, which is an autoencoder; held out: of real images that it never "
        "learns from",
    ),
    Kind(
        "Fakes below the margin",
        {"critic/below_margin": ""},
        "share of generated images that the critic still pushes away; at 0 it has stopped learning from them",
    ),
    Kind(
        "Pulling-away term",
        {"generator/pulling_away": ""},
        "mean squared cosine between the codes of a batch, before its weight: 0 orthogonal, 1 all alike",
    ),
    Kind("k", {"began/k": ""}, "weight of the fakes in BEGAN's critic loss, moved by the balance"),
    Kind("Balance", {"began/balance": ""}, "γ · energy of real − energy of fake images, which k drives to 0"),
    Kind("M", {"began/measure": ""}, "BEGAN's measure of convergence: energy of real images + |balance|"),
    Kind("Potential", _pair("coulomb/potential_"), "Coulomb potential at real and at generated images"),
    Kind(
        "Potential without self term",
        _pair("coulomb/field_"),
        "the same, each image leaving out its own charge: both near 0 where the two densities agree",
    ),
    Kind(
        "Outside [−1, 1]", {"generator/outside": ""}, "share of generated values beyond the range of pixels"
    ),
]


def draw_charts(history: dict[str, Values]) -> list[Chart]:
    """Draw every scalar of a history, the well-known ones first."""
    known = set(AXES).union(*(kind.columns for kind in CHARTS))
    others = [
        Kind(name.rpartition("/")[2].replace("_", " ").capitalize(), {name: ""}, "")
        for name in history
        if name not in known
    ]
    return [_draw(kind, history) for kind in (*CHARTS, *others) if history.keys() & kind.columns.keys()]


def _draw(kind: Kind, history: dict[str, Values]) -> Chart:
    names = [name for name in kind.columns if name in history]
    curves = [history[name] for name in names]
    low, high, is_cut = value_range(np.concatenate(curves))
    steps = history["step"]
    frame = Frame(WIDTH, HEIGHT, MARGINS, (0.0, float(steps[-1])), (low, high))
    body = [frame.rules(ticks(low, high)), _axis(frame, float(history["images_seen"][-1]))]
    for index, curve in enumerate(curves):
        body.append(f'<path class="c{index} thin" d="{frame.path(steps, curve)}"/>')
        body.append(f'<path class="c{index}" d="{frame.path(steps, smooth(curve))}"/>')
    legend = [kind.columns[name] for name in names if kind.columns[name]]
    note = "outliers beyond the axis" if is_cut else ""
    if not np.isfinite(np.concatenate(curves)).any():
        note = "no finite value"
    return Chart(kind.title, legend, note, frame.svg(kind.title, body), kind.meaning)


def _axis(frame: Frame, images_seen: float) -> str:
    """Write generator steps and images seen at the begin, the middle and the end."""
    parts = []
    for fraction, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        step = frame.places[1] * fraction
        place = f'text-anchor="{anchor}" x="{frame.x(step):.1f}"'
        unit = (" steps", " images") if fraction == 1.0 else ("", "")
        parts.append(f'<text {place} y="{frame.floor + 15}">{short_number(step)}{unit[0]}</text>')
        seen = short_number(images_seen * fraction)
        parts.append(f'<text {place} y="{frame.floor + 29}">{seen}{unit[1]}</text>')
    return "".join(parts)
