"""The checks of benchmarks/gpu.py on a GPU, in small sizes: `make test-gpu`."""

import pytest

from benchmarks.gpu_parts import bits, ceilings, hygiene, packing, parity, rates
from benchmarks.gpu_parts.runs import DIGITS, FACES, Case, Options, variants

pytestmark = pytest.mark.gpu


def faults(rows):
    return [row for row in rows if row.get("ok") is False or "error" in row]


@pytest.mark.parametrize("variant", variants())
@pytest.mark.parametrize("dataset", [DIGITS, FACES])
def test_gradients_are_those_of_float64(on_gpu, dataset, variant):
    case = Case(dataset, variant, 28 if dataset == DIGITS else on_gpu.sizes.large, 8)
    rows = list(parity.compare(case, on_gpu.sizes.precisions))

    assert len(rows) == 9
    assert faults(rows) == []


@pytest.mark.parametrize("variant", variants())
def test_bits_depend_neither_on_checkpoints_nor_on_graphs_nor_on_where_images_lie(on_gpu, variant):
    rows = list(bits.compare(on_gpu, Case(DIGITS, variant, 28, 4), Options()))

    assert len(rows) == 5
    assert faults(rows) == []


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("variant", bits.BOTH)
def test_bits_depend_on_nothing_in_other_precisions_either(on_gpu, variant, precision):
    assert faults(bits.compare(on_gpu, Case(DIGITS, variant, 28, 4), Options(precision=precision))) == []


def test_a_state_saved_on_a_cpu_goes_on(on_gpu):
    assert faults(bits.go_on_from_a_cpu(on_gpu)) == []


@pytest.mark.parametrize("variant", variants())
def test_a_step_neither_waits_nor_uses_an_operation_that_is_not_repeatable(on_gpu, variant):
    assert faults(hygiene.watch(on_gpu, Case(DIGITS, variant, 28, 4))) == []


def test_more_processes_than_gpus_end_with_our_error(on_gpu):
    assert faults(hygiene.start_too_many(on_gpu)) == []


def test_every_way_to_train_has_a_rate(on_gpu):
    rows = list(rates.measure_rates(on_gpu, Case(DIGITS, "dcgan", 28, 16)))

    assert {row["contender"] for row in rows} == set(rates.CONTENDERS)
    assert faults(rows) == []


def test_a_step_has_kernels_and_a_busy_share(on_gpu):
    rows = list(rates.measure_use(on_gpu, Case(DIGITS, "dcgan", 28, 16)))

    kernels = [row["value"] for row in rows if row["what"] == "kernels of a step"]
    assert len(kernels) == 2 and min(kernels) > 50
    assert faults(rows) == []


def test_ceilings_and_packing_have_numbers(on_gpu):
    rows = [*ceilings.describe(on_gpu), *ceilings.measure(on_gpu, "matrix product", "tf32")]
    rows += [*packing.measure_processes(on_gpu, "no fill", 0.1), *packing.measure_streams(on_gpu)]

    assert faults(rows) == []
