"""Products by oneDNN are torch's own up to rounding, for matrices of every layout and type."""

import pytest
import torch
from torch.testing import assert_close

from gan.networks import products
from gan.networks.products import multiply


def layouts(rows, columns):
    """The same numbers row by row, column by column, and with gaps between the rows."""
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))
    wide = torch.zeros(rows, 3 * columns)
    wide[:, :columns] = matrix
    return {"rows": matrix, "columns": matrix.t().contiguous().t(), "gaps": wide[:, :columns]}


@pytest.mark.parametrize("left", ["rows", "columns", "gaps"])
@pytest.mark.parametrize("right", ["rows", "columns", "gaps"])
def test_a_product_is_torchs_own_in_every_layout(left, right):
    first, second = layouts(7, 33), layouts(33, 5)

    found = multiply(first[left], second[right])

    assert_close(found, first["rows"] @ second["rows"], rtol=1e-5, atol=1e-5)
    assert found.is_contiguous()


def test_torch_has_the_product_of_onednn_where_it_was_built_with_it():
    # The operation isn't public: a torch that has renamed it would be right, and half as fast, in silence.
    assert (products._by_onednn is not None) == torch.backends.mkldnn.is_available()


def test_no_matrix_with_gaps_reaches_onednn(monkeypatch):
    given = []
    monkeypatch.setattr(
        products, "_by_onednn", lambda left, right, *_: given.extend([left, right]) or left @ right.t()
    )
    left, right = layouts(7, 33)["gaps"], layouts(33, 5)["gaps"]

    assert_close(multiply(left, right), left @ right)

    assert [matrix.stride() for matrix in given] == [(33, 1), (1, 5)]


def test_other_types_and_a_torch_without_onednn_take_torchs_product(monkeypatch):
    left, right = torch.randn(7, 33).double(), torch.randn(33, 5).double()
    assert torch.equal(multiply(left, right), left @ right)
    monkeypatch.setattr(products, "_by_onednn", None)
    assert torch.equal(multiply(left.float(), right.float()), left.float() @ right.float())
