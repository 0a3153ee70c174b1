"""Scores of fixed features equal torch-fidelity's."""

import numpy as np
import pytest
import torch
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

from gan.metrics.classes import inception_score
from gan.metrics.distances import FeatureStats, frechet_distance, kernel_distance
from gan.metrics.neighbours import neighbourhoods

SETS = [(64, 0.0, 1.0), (192, 0.1, 0.9), (64, 0.5, 1.3)]  # features, shift, scale; 500 images a side


@pytest.fixture(params=SETS, ids=str)
def pair(request):
    features, shift, scale = request.param
    random = np.random.default_rng(features)
    mixed = random.normal(size=(features, features)) / np.sqrt(features)
    fake = random.normal(size=(500, features)) @ mixed * scale + shift
    real = random.normal(size=(500, features)) @ mixed
    return np.maximum(fake, -0.5).astype(np.float32), np.maximum(real, -0.5).astype(np.float32)


def test_frechet_distance_is_torch_fidelitys(pair):
    stats = [metric_fid.fid_features_to_statistics(torch.from_numpy(rows)) for rows in pair]
    expected = metric_fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    found = frechet_distance(*(FeatureStats.of(rows) for rows in pair))
    assert found == pytest.approx(expected, rel=1e-3)


def test_kernel_distance_is_torch_fidelitys_over_one_subset_of_all(pair):
    # Subsets are drawn by another generator there; one that holds every row is the same in both.
    expected = metric_kid.kid_features_to_metric(
        *(torch.from_numpy(rows.astype(np.float64)) for rows in pair),
        kid_subsets=1,
        kid_subset_size=500,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=0,
        verbose=False,
    )["kernel_inception_distance_mean"]
    assert kernel_distance(*pair, subsets=1, size=500).mean == pytest.approx(expected, rel=1e-3)


def test_inception_score_is_torch_fidelitys_without_its_shuffle(pair):
    logits = torch.from_numpy(pair[0][:, :10] * 3)
    expected = metric_isc.isc_features_to_metric(logits, splits=10, shuffle=False)["inception_score_mean"]
    assert inception_score(logits.double().softmax(1).numpy(), shuffle=False) == pytest.approx(
        expected, rel=1e-3
    )


def test_precision_and_recall_are_torch_fidelitys(pair):
    precision, recall = metric_prc.calculate_precision_recall_full(
        *(torch.from_numpy(rows.astype(np.float64)) for rows in pair), neighborhood=3
    )
    found = neighbourhoods(*pair)
    assert (found.precision, found.recall) == pytest.approx((precision, recall), rel=1e-3)
