"""Which network scores which images, and that each gives what the interface says."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as inceptionv3
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
from torch_fidelity.utils import get_featuresdict_from_dataset

from gan.contract import ImageShape
from gan.data.digits import read_digits
from gan.data.manifest import read_manifest
from gan.errors import ConfigError, DataError
from gan.extractors import extractor_name, load_extractor
from gan.extractors.inception import InceptionExtractor
from gan.extractors.mnistnet import extract, new_mnistnet, save_mnistnet
from gan.extractors.trained import DigitExtractor
from gan.files import write_json
from gan.metrics.classes import inception_score
from gan.metrics.distances import FeatureStats, frechet_distance, kernel_distance
from gan.metrics.neighbours import neighbourhoods

ROOT = Path(__file__).resolve().parents[2]


def pictures(n, channels):
    return np.random.default_rng(0).integers(0, 256, (n, channels, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "split"),
    [((1, 28, 28), "every_fifth_is_test"), ((1, 32, 32), "as_published"), ((3, 28, 28), "stacked")],
)
def test_digits_are_scored_by_mnistnet(image, split):
    assert extractor_name(ImageShape(*image), split=split, pictures="inception") == "mnistnet"


@pytest.mark.parametrize("image", [(3, 28, 28), (1, 64, 64), (1, 28, 32)])
def test_images_that_are_no_digits_are_scored_by_what_params_name(image):
    assert extractor_name(ImageShape(*image), split="as_published", pictures="inception") == "inception"


def test_points_of_a_mixture_are_scored_by_their_places(tmp_path):
    assert extractor_name(ImageShape(1, 1, 2), split="mixture", pictures="inception") == "points"
    write_json(tmp_path / "card.json", {"name": "points"})
    extractor = load_extractor(tmp_path, ImageShape(1, 1, 2))
    found = extractor.extract(np.array([[[[0, 255]]]], np.uint8))
    assert found.features.tolist() == [[-1, 1]]
    assert found.probabilities.shape == (1, 2, 5)
    assert len(extractor.sha256) == 64


def test_one_channel_has_the_features_and_classes_of_mnistnet():
    net, images = new_mnistnet(ImageShape(1, 28, 28), 0), pictures(5, 1)
    found = DigitExtractor(net, "0" * 64).extract(images)
    for part, expected in zip(found, extract(net, images), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_each_channel_of_a_stack_is_seen_alone():
    net, images = new_mnistnet(ImageShape(1, 28, 28), 0), pictures(5, 3)
    extractor = DigitExtractor(net, "0" * 64, channels=3)
    found = extractor.extract(images)
    assert extractor.size == 384
    for channel in range(3):
        features, probabilities = extract(net, images[:, channel : channel + 1])
        np.testing.assert_array_equal(found.features[:, 128 * channel : 128 * (channel + 1)], features)
        np.testing.assert_array_equal(found.probabilities[:, channel], probabilities)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_extractor_of_a_folder_is_the_one_its_card_names(tmp_path, channels):
    sha256 = save_mnistnet(new_mnistnet(ImageShape(1, 28, 28), 0), tmp_path / "weights.safetensors")
    write_json(tmp_path / "card.json", {"name": "mnistnet", "sha256": sha256})
    extractor = load_extractor(tmp_path, ImageShape(channels, 28, 28))
    assert (extractor.name, extractor.sha256, extractor.size) == ("mnistnet", sha256, 128 * channels)
    assert extractor.extract(pictures(2, channels)).features.shape == (2, 128 * channels)


@pytest.fixture(scope="module")
def untrained_inception():
    """Bytes of random weights of torch-fidelity's network, scaled so that the last features still differ."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inceptionv3.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = inceptionv3.FeatureExtractorInceptionV3("random", ["2048"])
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("channels", "side"), [(3, 64), (1, 28)])
def test_inceptions_features_are_those_of_torch_fidelitys_own_pipeline(untrained_inception, channels, side):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, channels, side, side), dtype=np.uint8)
    found = InceptionExtractor(untrained_inception).extract(images)
    names = ["2048", "logits_unbiased"]
    net = inceptionv3.FeatureExtractorInceptionV3(
        "theirs", names, feature_extractor_weights_path=io.BytesIO(untrained_inception)
    )
    tiled = list(torch.from_numpy(np.repeat(images, 3 // channels, axis=1)))
    theirs = get_featuresdict_from_dataset(Listed(tiled), net, 3, False, True, False)
    assert found.features.shape == (3, 2048) and found.features.std(0).max() > 1e-3
    np.testing.assert_allclose(found.features, theirs["2048"], rtol=1e-4, atol=1e-5)
    probabilities = theirs["logits_unbiased"].softmax(1)
    np.testing.assert_allclose(found.probabilities, probabilities, rtol=1e-3, atol=1e-6)


@pytest.mark.slow  # 4,200 passes through Inception
@pytest.mark.timeout(3000)
def test_scores_of_two_sets_of_digits_are_torch_fidelitys_on_2048_features(untrained_inception):
    chosen = np.arange(4200) * 77 % 5000  # the file is sorted by class
    digits = read_digits(ROOT / "data/mnist_tiny", "").images[chosen].reshape(-1, 1, 28, 28)
    fake, real = digits[:2100, :, ::-1].copy(), digits[2100:]  # upside down, so that they differ
    extractor = InceptionExtractor(untrained_inception)
    ours = [extractor.extract(images) for images in (fake, real)]
    net = inceptionv3.FeatureExtractorInceptionV3(
        "theirs", ["2048"], feature_extractor_weights_path=io.BytesIO(untrained_inception)
    )
    tiled = Listed(list(torch.from_numpy(np.repeat(fake[:50], 3, axis=1))))
    theirs = get_featuresdict_from_dataset(tiled, net, 50, False, True, False)["2048"]
    np.testing.assert_allclose(ours[0].features[:50], theirs, rtol=1e-4, atol=1e-5)

    features = [torch.from_numpy(found.features) for found in ours]
    stats = [metric_fid.fid_features_to_statistics(rows) for rows in features]
    fid = metric_fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    kid = metric_kid.kid_features_to_metric(
        *(rows.double() for rows in features),
        kid_subsets=1,
        kid_subset_size=2100,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=0,
        verbose=False,
    )["kernel_inception_distance_mean"]
    logits = torch.from_numpy(ours[0].probabilities).double().clamp_min(1e-30).log()
    isc = metric_isc.isc_features_to_metric(logits, splits=10, shuffle=False)["inception_score_mean"]
    precision, recall = metric_prc.calculate_precision_recall_full(
        *(rows.double() for rows in features), neighborhood=3
    )

    near = neighbourhoods(*(found.features for found in ours))
    assert fid > 0 and kid > 0
    assert frechet_distance(*(FeatureStats.of(found.features) for found in ours)) == pytest.approx(
        fid, rel=1e-3
    )
    found = kernel_distance(*(found.features for found in ours), subsets=1, size=2100).mean
    assert found == pytest.approx(kid, rel=1e-3)
    score = inception_score(ours[0].probabilities.astype(np.float64), shuffle=False)
    assert score == pytest.approx(isc, rel=1e-3)
    assert (near.precision, near.recall) == pytest.approx((precision, recall), rel=1e-3)


class Listed(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __getitem__(self, index):
        return self.images[index]

    def __len__(self):
        return len(self.images)


def test_without_torch_fidelity_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ConfigError, match=r"pip install 'gantry\[inception\]'"):
        InceptionExtractor(b"")


def test_inceptions_weights_of_another_hash_are_refused_before_they_are_read(tmp_path):
    write_json(tmp_path / "card.json", {"name": "inception", "sha256": "0" * 64})
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"weights\.pth: sha256 is .*, expected 000000000000"):
        load_extractor(tmp_path, ImageShape(3, 64, 64))


def test_the_manifest_has_the_weights_that_are_named_after_their_hash():
    (file,) = read_manifest(ROOT / "data/manifest.yaml")["inception"].files
    assert file.name.endswith(f"-{file.sha256[:8]}.pth")
