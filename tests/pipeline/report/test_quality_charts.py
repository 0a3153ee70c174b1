"""Drawings of quality along runs: where points lie, which ticks stand beside them, what is marked."""

import math
import re
from xml.etree import ElementTree

import pytest

from pipeline.drawing.svg import log_ticks
from pipeline.report.quality_charts import Strand, Track, courses_as_csv, draw_courses
from pipeline.scores.course import Course, Point

# Both axes go from 10 to 1000: the middle of each is at 100.
POINTS = [Point(0, 0, 1000.0), Point(10, 10, 100.0), Point(100, 100, 10.0), Point(1000, 1000, 31.6227766)]


def track(points=POINTS, chosen=None, name="gan"):
    course = Course("fid_x_1k_validation", "validation", 1000, chosen, list(points))
    return Track(f"digits-{name}-quick-0", name, course, [0.3, *(float(point.step) for point in points[1:])])


def parsed(chart):
    return ElementTree.fromstring(chart.svg)  # noqa: S314  # drawn here


def drawn(strands, alone=None, panel=0):
    return parsed(draw_courses(strands, alone)[panel])


def ends(root):
    return [
        (float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter("circle") if not dot.get("class")
    ]


def vertices(path):
    """Points of a path that is written as a start and steps from each point to the next."""
    x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", path).groups())
    found = [(x, y)]
    for step in path.split("l")[1:]:
        right, down = map(float, re.findall(r"-?\d*\.?\d+", step))
        x, y = x + right, y + down
        found.append((round(x, 1), round(y, 1)))
    return found


def test_a_point_lies_where_its_logarithms_are_and_what_is_at_zero_at_the_left_edge():
    root = drawn([Strand("gan", 0, [track()])])
    points = vertices(root.find(".//g/path").get("d"))
    # 40 is the left edge; 54 to 332 is the way from step 10 to step 1000
    assert [x for x, _ in points] == [40.0, 54.0, 193.0, 332.0]
    heights = [y for _, y in points]
    assert heights == sorted(heights[:3]) + heights[3:]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=0.11)  # factors of ten
    assert heights[2] - heights[3] == pytest.approx((heights[1] - heights[0]) / 2, abs=0.11)  # of their root
    assert 8 < heights[0] and heights[2] < 240 - 22  # a margin at both ends


def test_the_panels_are_over_steps_images_and_seconds():
    points = [Point(0, 0, 90.0), Point(1, 64, 50.0), Point(4, 256, 40.0)]
    one = Track("digits-gan-quick-0", "gan", Course("f", "train", 9, None, points), [0.3, 2.0, 3.0])
    two = Track("digits-wgan-quick-0", "wgan", Course("f", "train", 9, None, points[:2]), [0.3, 1.0])
    charts = draw_courses([Strand("gan", 0, [one]), Strand("wgan", 1, [two])])
    assert [chart.title for chart in charts] == ["Generator steps", "Images seen", "Seconds of training"]
    steps, images, seconds = map(parsed, charts)
    assert [x for x, _ in ends(steps)] == [54.0, 332.0]  # the best is drawn last
    assert ends(images) == ends(steps)  # 64 images a step in both
    assert [x for x, _ in ends(seconds)] == [54.0, 332.0]
    (path,) = (vertices(g.find("path").get("d")) for g in seconds.iter("g") if "s0" in g.get("class").split())
    assert path[1][0] == pytest.approx(54 + 278 * math.log(2) / math.log(3), abs=0.06)


def test_the_chosen_step_has_a_ring_and_the_last_a_dot():
    root = drawn([Strand("gan", 0, [track(chosen=100)])])
    (ring,) = (dot for dot in root.iter("circle") if dot.get("class") == "chosen")
    path = vertices(root.find(".//g/path").get("d"))
    assert (float(ring.get("cx")), float(ring.get("cy"))) == path[2]
    assert ends(root) == [path[3]]
    assert root.find(".//title").text == "gan: FID 31.6 at step 1,000, the last; 10.0 at step 100, chosen"


def test_where_nothing_is_chosen_no_ring_is_drawn():
    root = drawn([Strand("gan", 0, [track()])])
    assert not [dot for dot in root.iter("circle") if dot.get("class")]
    assert root.find(".//title").text == "gan: FID 31.6 at step 1,000, the last"


def test_seeds_share_a_colour_and_neighbours_in_the_ranking_do_not():
    strands = [Strand(str(index), index, [track(), track()]) for index in range(14)]
    root = drawn(strands)
    styles = [g.get("style") for g in root.iter("g")]
    assert len(styles) == 28
    assert len(set(styles)) == 14
    for one, other in zip(strands, strands[1:], strict=False):
        gap = abs(one.hue - other.hue)
        assert min(gap, 360 - gap) > 90
        assert one.is_dashed != other.is_dashed


def test_on_a_variants_page_the_others_are_muted_and_below():
    strands = [Strand(str(index), index, [track()]) for index in range(3)]
    groups = [g.get("class").split() for g in drawn(strands, alone=1).iter("g")]
    assert ["muted" in names for names in groups] == [True, True, False]
    assert "s1" in groups[-1]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (8.0, 1200.0, [10, 30, 100, 300, 1000]),
        (8.0, 110.0, [10, 20, 50, 100]),
        (0.9, 2e5, [1, 10, 100, 1000, 10_000, 100_000]),
        (1.0, 1e12, [1, 1e3, 1e6, 1e9, 1e12]),
        (21.0, 29.0, [22, 24, 26, 28]),
    ],
)
def test_ticks_are_round_and_few(low, high, expected):
    assert log_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("fid", [0.0, 5.0])
def test_a_run_of_one_snapshot_is_drawn(fid):
    root = drawn([Strand("gan", 0, [track([Point(1, 1, fid)])])])
    assert ends(root)[0][0] == 54.0


def test_the_table_of_courses_has_a_row_for_each_snapshot():
    lines = courses_as_csv([Strand("gan", 0, [track(POINTS[:2], chosen=10)])]).splitlines()
    assert lines[0] == "run,step,images_seen,seconds,fid,split,chosen"
    assert lines[1:] == [
        "digits-gan-quick-0,0,0,0.3,1000.0,validation,False",
        "digits-gan-quick-0,10,10,10.0,100.0,validation,True",
    ]
