"""Seeds are functions of their purpose."""

import itertools

from gan.randomness import derive_seed


def test_a_seed_is_the_same_on_every_machine():
    assert derive_seed("sample") == 5143949513608363148


def test_seeds_of_different_purposes_differ():
    purposes = list(itertools.product(range(5), ("critic", "generator"), range(100)))
    assert len({derive_seed(*purpose) for purpose in purposes}) == len(purposes)
