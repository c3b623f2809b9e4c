"""The tour's code does what the tour says, and the files that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.federation.model import ItemArrays
from models.federation.postprocessors import ClientContext, postprocessor_of

CHECKOUT = Path(__file__).parents[2]
TOUR = (CHECKOUT / "docs" / "tour.md").read_text()


@pytest.mark.parametrize("page", ["tour", "architecture"])
def test_named_files_exist(page: str) -> None:
    text = (CHECKOUT / "docs" / f"{page}.md").read_text()
    named = set(re.findall(r"`((?:models|tasks|flows|serving|data_contracts|tests)/[\w/]+(?:\.py|/))`", text))
    assert len(named) > 5
    assert {name for name in named if not (CHECKOUT / name).exists()} == set()


def test_the_postprocessor_clips_a_contribution_to_its_norm() -> None:
    (text,) = re.findall(r"```python\n(.*?)```", TOUR, re.DOTALL)
    code = compile(text, "docs/tour.md", "exec", dont_inherit=True)
    exec(code, {"__name__": "tour"})  # noqa: S102  # our own document
    clip = postprocessor_of({"name": "clip-norm", "max_norm": 2.0})
    # A norm of 4 over embeddings and biases; the accumulators are sums of squares and do not count.
    arrays = ItemArrays(
        embeddings=np.full((3, 4), 1.0, np.float32),
        biases=np.array([2.0, 0.0, 0.0], np.float32),
        embedding_accumulators=np.full(3, 9.0, np.float32),
        bias_accumulators=np.full(3, 9.0, np.float32),
    )
    context = ClientContext(round=1, seed=1, cohort=3, client_id="ash")
    clipped = clip.process_contribution(Contribution(arrays), context).arrays
    for name, array in clipped.named():
        np.testing.assert_array_equal(array, getattr(arrays, name) / 2)
    within = Contribution(arrays.map(lambda array: array / 4))
    assert (
        clip.process_contribution(within, context).arrays.embeddings.tobytes()
        == within.arrays.embeddings.tobytes()
    )
    with pytest.raises(InvalidInput, match="clip-norm"):
        exec(code, {"__name__": "tour"})  # noqa: S102  # the name is taken
