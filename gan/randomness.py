"""Owns stateless randomness: every draw's seed is a function of what the draw is for.

No state is carried from one draw to the next, so that a resumed run draws what an uninterrupted one would,
and previews or workers can't shift another stream.
"""

import hashlib


def derive_seed(*purpose: int | str) -> int:
    """Seed in [0, 2^63) for a purpose such as (seed, "critic", step, inner).

    Equal purposes give equal seeds on every platform; unequal ones give unrelated seeds.
    """
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
