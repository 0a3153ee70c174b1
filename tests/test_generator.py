"""A generator comes back from disk as it was, or not at all."""

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from gan.card import Card, read_card, write_card
from gan.contract import ImageShape
from gan.errors import DataError, TrainingDiverged
from gan.files import sha256_of
from gan.generator import load_generator, load_snapshot, save_generator, save_snapshot, snapshot_steps

METHOD: dict[str, Any] = {
    "kind": "gan",
    "z_dim": 3,
    "noise": "normal",
    "batch_size": 2,
    "generator_optimizer": {"kind": "adam", "lr": 1e-3, "betas": [0.5, 0.999]},
    "critic_optimizer": {"kind": "rmsprop", "lr": 1e-3, "alpha": 0.9},
    "generator_noise": "fresh",
    "critic_batches": "fresh",
    "schedule": [{"from": 0.5, "critic_lr": 1e-4}],
    "rate_decay": None,
    "on_divergence": "stop",
    "networks": {"kind": "mlp", "hidden": 4, "activation": "relu", "critic_dropout": 0.0},
}
CONVOLUTIONAL: dict[str, Any] = {
    **METHOD,
    "kind": "dcgan",
    "networks": {
        "kind": "dcgan",
        "generator": {
            "width": 4,
            "kernel": 4,
            "hidden": None,
            "stem": "dense",
            "stem_norm": "channel",
            "norm": True,
            "biases": False,
            "output": "tanh",
        },
        "critic": {"width": 4, "kernel": 4, "hidden": None, "first_norm": False, "biases": False},
        "initialisation": "normal",
    },
}
DECODER: dict[str, Any] = {
    **METHOD,
    "kind": "began",
    "networks": {
        "kind": "began",
        "width": 4,
        "code": 4,
        "stages": 2,
        "convolutions": 1,
        "last_convolutions": 1,
        "output_bias": 0.0,
        "initialisation": "glorot",
    },
    "exponent": 2,
    "gamma": 0.5,
    "k_rate": 0.001,
    "balance_from": "generator_step",
    "stall": None,
}


def reshaped(method: dict[str, Any], **sizes: int) -> dict[str, Any]:
    """Give a method's networks other sizes."""
    return method | {"networks": method["networks"] | sizes}


def card_fields(method: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {
        "format": 1,
        "key": "mnist_tiny-gan-smoke-0",
        "dataset": "mnist_tiny",
        "variant": "gan",
        "kind": method["kind"],
        "image": [1, 28, 28],
        "method": method,
        "steps": 20,
        "images_seen": 40,
        "seed": 0,
        "precision": "fp32",
        "num_threads": 1,
        "channels_last": True,
        "ema_exponent": 17.97,
        "data_digest": "0" * 64,
        "code_digest": "1" * 64,
        "weights_sha256": "2" * 64,
        "raw_weights_sha256": "3" * 64,
    }
    return fields | changes


def build_state(method: dict[str, Any]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    card = Card.model_validate_json(json.dumps(card_fields(method)))
    return card.method.build(ImageShape(1, 28, 28)).generator.state_dict()


def write_model(folder: Path, state: dict[str, Tensor], method: dict[str, Any] = METHOD) -> Path:
    folder.mkdir(exist_ok=True)
    content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})
    (folder / "generator.safetensors").write_bytes(content)
    rewrite_card(folder, method)
    return folder


def rewrite_card(folder: Path, method: dict[str, Any], **changes: Any) -> None:
    digest = sha256_of(folder / "generator.safetensors")
    fields = card_fields(method, **{"weights_sha256": digest} | changes)
    (folder / "card.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("method", [METHOD, CONVOLUTIONAL], ids=["perceptron", "convolutional"])
def test_weights_come_back_bit_for_bit(tmp_path: Path, method: dict[str, Any]) -> None:
    state = build_state(method)
    digest = save_generator(tmp_path, state)
    fields = card_fields(method, weights_sha256=digest)
    write_card(tmp_path, Card.model_validate_json(json.dumps(fields)))

    generator, card = load_generator(tmp_path)

    found = generator.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert not generator.training
    assert generator(torch.zeros(5, 3)).shape == (5, 1, 28, 28)
    assert card.method.schedule[0].begin == 0.5


def test_equal_tensors_give_equal_bytes_whatever_their_layout(tmp_path: Path) -> None:
    kernel = torch.arange(48.0).reshape(2, 3, 2, 4)
    shared = torch.ones(2)
    first = save_generator(tmp_path, {"a": kernel, "b": shared, "c": shared})
    laid_out = kernel.to(memory_format=torch.channels_last)
    assert save_generator(tmp_path, {"c": torch.ones(2), "b": torch.ones(2), "a": laid_out}) == first


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="first.weight"):
        save_generator(tmp_path, {"first.weight": torch.tensor([1.0, float("inf")])})
    assert list(tmp_path.iterdir()) == []


def test_snapshots_come_back_in_order_and_are_checked_as_weights_are(tmp_path: Path) -> None:
    state = build_state(METHOD)
    write_model(tmp_path, state)
    for step in (0, 20, 1_000_000, 900):
        save_snapshot(tmp_path / "snapshots", state, step)
    assert snapshot_steps(tmp_path) == [0, 20, 900, 1_000_000]
    generator, card = load_snapshot(tmp_path, 20)
    assert card.seed == 0 and not generator.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in generator.state_dict().items())
    with pytest.raises(DataError, match=r"000040\.safetensors: no such file"):
        load_snapshot(tmp_path, 40)
    save_snapshot(tmp_path / "snapshots", {"foreign": torch.zeros(1)}, 20)
    with pytest.raises(DataError, match="foreign isn't part of this generator"):
        load_snapshot(tmp_path, 20)


@pytest.mark.parametrize("position", [0, 100, 2000, -1])
def test_one_flipped_bit_is_refused(tmp_path: Path, position: int) -> None:
    path = write_model(tmp_path, build_state(METHOD)) / "generator.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="sha256 is .*, the card says"):
        load_generator(tmp_path)


def rename_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    first = min(state)
    return {("stranger" if name == first else name): tensor for name, tensor in state.items()}


DAMAGES: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], list[str]]] = {
    "names": (rename_first, [" is missing", "stranger isn't part of this generator"]),
    "shape": (lambda state: {k: v.flatten() for k, v in state.items()}, ["expected (4, 3)"]),
    "type": (
        lambda state: {k: v.double() for k, v in state.items()},
        ["is torch.float64, expected torch.float32"],
    ),
    "values": (lambda state: {k: v * float("nan") for k, v in state.items()}, ["aren't finite"]),
    "extras": (
        lambda state: state | {f"extra{i}": torch.zeros(1) for i in range(9)},
        [f"extra{i} isn't part" for i in range(5)],
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_foreign_weights_are_refused_with_the_first_five_differences(tmp_path: Path, name: str) -> None:
    damage, expected = DAMAGES[name]
    write_model(tmp_path, damage(build_state(METHOD)))
    with pytest.raises(DataError) as caught:
        load_generator(tmp_path)
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert len(message.splitlines()) <= 5


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", struct.pack("<Q", 1 << 40) + b"{", b"\xff" * 100])
def test_files_that_are_no_safetensors_are_data_errors(tmp_path: Path, content: bytes) -> None:
    write_model(tmp_path, build_state(METHOD))
    (tmp_path / "generator.safetensors").write_bytes(content)
    rewrite_card(tmp_path, METHOD)
    with pytest.raises(DataError, match="not a safetensors file"):
        load_generator(tmp_path)


@pytest.mark.parametrize(
    ("method", "changes", "expected"),
    [
        (reshaped(METHOD, hidden=10**9), {}, "4294967296 is the limit"),
        (reshaped(METHOD, hidden=10**30), {}, "can't be built"),
        (reshaped(DECODER, stages=10**9), {}, "less than or equal to 8"),
        (reshaped(DECODER, convolutions=10**9), {}, "less than or equal to 8"),
        ({**METHOD, "z_dim": 10**9}, {}, "more than 4096"),
        ({**METHOD, "kind": "os.system"}, {}, "does not match any of the expected tags"),
        (METHOD, {"kind": "dcgan"}, "its method is 'gan'"),
        (METHOD, {"image": [1, 28, 10**6]}, "less than or equal to 1024"),
        (METHOD, {"loader_module": "evil"}, "Extra inputs are not permitted"),
        (METHOD, {"seed": "0"}, "valid integer"),
        (CONVOLUTIONAL, {"image": [1, 27, 29]}, "can't be built"),
        (METHOD, {"format": 2}, "format"),
    ],
)
def test_a_hostile_card_is_refused_before_memory_is_taken(
    tmp_path: Path, method: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    write_model(tmp_path, build_state(METHOD))
    rewrite_card(tmp_path, method, **changes)
    started = time.monotonic()
    with pytest.raises(DataError, match=expected):
        load_generator(tmp_path)
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 200_000, b" " * 300_000])
def test_a_card_that_is_no_card_is_one_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(DataError, match="card.json"):
        read_card(tmp_path)


def test_a_folder_without_weights_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds card.json and generator.safetensors"):
        load_generator(tmp_path)
