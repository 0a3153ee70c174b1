"""That extraction happens where the network is, and that nothing of it stays on the CPU.

No device but the CPU is at hand, so the meta device stands in: it runs every operation on shapes alone.
"""

import io

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_fidelity import feature_extractor_inceptionv3

from gan.contract import ImageShape
from gan.extractors.attributes import AttributeNet
from gan.extractors.inception import InceptionExtractor
from gan.extractors.mnistnet import extract, new_mnistnet, new_network, one_thread
from gan.extractors.points import PointExtractor
from gan.extractors.trained import AttributeExtractor, DigitExtractor
from gan.sampling import generate_images


class OneDevice(TorchDispatchMode):
    """Raises where an operation mixes devices; what is copied from the meta device comes back as zeros.

    A CPU tensor without dimensions is a number to an operation on a GPU: torch-fidelity scales by one.
    """

    def __init__(self):
        super().__init__()
        self.on_meta = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.dim() or tensor.device.type == "meta"}
        if operation is torch.ops.aten._to_copy.default and kwargs.get("device") is not None:
            if devices == {"meta"} and torch.device(kwargs["device"]).type == "cpu":
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        else:
            assert len(devices) < 2, f"{operation} mixes {devices}"
            self.on_meta += devices == {"meta"}
        return operation(*args, **kwargs)


def digits(device):
    return DigitExtractor(new_mnistnet(ImageShape(1, 28, 28), 0).to(device), "0" * 64, channels=3)


def attributes(device):
    net = new_network(lambda: AttributeNet(ImageShape(3, 28, 28), 5), 0)
    return AttributeExtractor(net.to(device), "0" * 64)


def inception(device):
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        kind = feature_extractor_inceptionv3.FeatureExtractorInceptionV3
        patch.setattr(kind, "load_state_dict", lambda *_, **__: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        return InceptionExtractor(buffer.getvalue(), device)


def pictures(n):
    return np.random.default_rng(0).integers(0, 256, (n, 3, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("make", [digits, attributes, inception])
def test_all_of_an_extraction_happens_on_the_networks_device(make):
    extractor = make("meta")
    assert torch.device(extractor.device).type == "meta"
    with OneDevice() as seen:
        found = extractor.extract(pictures(40))
    assert seen.on_meta > 10
    assert isinstance(found.features, np.ndarray) and found.features.shape == (40, extractor.size)


def test_points_are_named_on_the_cpu_everywhere():
    assert PointExtractor().device == "cpu"


def test_the_spy_finds_an_image_that_stays_on_the_cpu():
    extractor = digits("meta")
    with OneDevice(), pytest.raises(AssertionError, match="mixes"):
        extractor.net.embed(torch.zeros(2, 1152))


def test_images_are_generated_on_the_generators_device():
    generator = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Unflatten(1, (1, 3, 3))).to("meta")
    with OneDevice() as seen:
        images = generate_images(generator, torch.zeros(300, 4))
    assert (images.device.type, images.shape) == ("cpu", (300, 1, 3, 3))
    assert seen.on_meta > 2


@torch.no_grad()
def test_on_the_cpu_features_are_those_of_batches_of_256_filled_with_black():
    net, images = new_mnistnet(ImageShape(1, 28, 28), 0).eval(), pictures(100).reshape(300, 1, 28, 28)
    found = extract(net, images)
    last = functional.pad(torch.from_numpy(images[256:]), (0, 0, 0, 0, 0, 0, 0, 212))
    with one_thread():
        parts = [net.features(batch) for batch in (torch.from_numpy(images[:256]), last)]
        expected = torch.cat(parts)[:300]
        probabilities = torch.cat([net.probabilities(part) for part in parts])[:300]
    np.testing.assert_array_equal(found.features, expected.numpy())
    np.testing.assert_array_equal(found.probabilities, probabilities.numpy())


@pytest.mark.gpu
@pytest.mark.parametrize("make", [digits, attributes])
def test_a_gpu_gives_the_features_of_the_cpu_but_for_rounding(make):
    ours, theirs = (make(device).extract(pictures(300)).features for device in ("cuda", "cpu"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
