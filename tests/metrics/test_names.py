"""Full names of metrics: what is written is what is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.extractors import EXTRACTORS
from gan.metrics.catalogue import METRICS
from gan.metrics.names import SUFFIXES, MetricName, find_names, is_of_reference

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (MetricName("fid", "mnistnet", 1000, "test"), "fid_mnistnet_1k_test"),
        (MetricName("fid", "mnistnet", 10_000, "test", "raw"), "fid_mnistnet_10k_test_raw"),
        (MetricName("fid", "mnistnet", 50_000, "test", "floor"), "fid_mnistnet_50k_test_floor"),
        (MetricName("kid", "inception", 500, "train", "ceiling"), "kid_inception_500_train_ceiling"),
        (MetricName("fid_infinity", "points", 1500, "validation"), "fid_infinity_points_1500_validation"),
    ],
)
def test_a_name_states_the_protocol(name, text):
    assert str(name) == text
    assert MetricName.parse(text) == name


@pytest.mark.parametrize("metric", [metric.name for metric in METRICS])
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_every_name_that_is_written_is_read(metric, extractor):
    for samples in (1, 140, 999, 1000, 1500, 2000, 26_000, 50_000):
        for split in SPLITS:
            for suffix in SUFFIXES:
                name = MetricName(metric, extractor, samples, split, suffix)
                assert MetricName.parse(str(name)) == name


@given(
    st.from_regex(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", fullmatch=True),
    st.from_regex(r"[a-z0-9]+", fullmatch=True),
    st.integers(1, 10**9),
    st.sampled_from(SPLITS),
    st.sampled_from(SUFFIXES),
)
def test_any_name_is_read_as_it_was_written(metric, extractor, samples, split, suffix):
    name = MetricName(metric, extractor, samples, split, suffix)
    assert MetricName.parse(str(name)) == name


@given(st.text())
def test_what_is_read_is_written_alike(text):
    name = MetricName.parse(text)
    assert name is None or str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "fid",
        "seconds",
        "protocol_samples",
        "fid_mnistnet_1k",
        "fid_mnistnet_1k_dev",
        "fid_mnistnet_1k_test_mean",  # of summary.json
        "fid_mnistnet_1000_test",  # as nothing writes it
        "fid_mnistnet_01k_test",
        "_mnistnet_1k_test_",
        "fid_MnistNet_1k_test",
    ],
)
def test_other_texts_are_no_names(text):
    assert MetricName.parse(text) is None


def test_a_name_has_no_other_suffix():
    with pytest.raises(ValueError, match="'_raw'"):
        str(MetricName("fid", "mnistnet", 1000, "test", "_raw"))


def test_a_metric_is_found_by_its_short_name_split_and_suffix():
    names = ["fid_net_1k_test", "fid_net_1k_test_raw", "fid_infinity_net_1k_test", "fid_net_1k_train", "seed"]
    assert [str(name) for name in find_names(names, "fid")] == ["fid_net_1k_test", "fid_net_1k_train"]
    assert [str(name) for name in find_names(names, "fid", "test")] == ["fid_net_1k_test"]
    assert [str(name) for name in find_names(names, "fid", suffix="raw")] == ["fid_net_1k_test_raw"]


def test_floors_and_ceilings_are_of_the_reference():
    assert is_of_reference("fid_net_1k_test_floor") and is_of_reference("fid_net_1k_test_ceiling")
    assert not is_of_reference("fid_net_1k_test_raw") and not is_of_reference("insulated_floor")
