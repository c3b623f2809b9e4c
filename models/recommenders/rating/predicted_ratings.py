"""Predicted ratings and their uncertainty: averages over the samples of a chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import IntArray
from models.recommenders.items.rating_model import PredictedRatings
from models.recommenders.rating.bayesian_mf import BayesianMfSpec, Sample
from models.recommenders.rating.gaussian import Normals


@dataclass(frozen=True)
class PredictionSums(ArrayGroup):
    """Sums over samples for each pair, kept by the client of the users.

    Attributes:
        means: (pairs,), sum of the expected ratings given a sample of the items.
        squares: (pairs,), sum of their squares and variances.
        noise: (pairs,), sum of the noise's variances.
        samples: (1,), number of samples.
    """

    means: FloatArray
    squares: FloatArray
    noise: FloatArray
    samples: FloatArray

    @classmethod
    def zero(cls, pairs: int) -> PredictionSums:
        """Return the sums over no sample."""
        return cls(np.zeros(pairs), np.zeros(pairs), np.zeros(pairs), np.zeros(1))

    def plus(self, other: PredictionSums) -> PredictionSums:
        """Return the sums over both."""
        return self.map(np.add, other)

    def predicted(self, spec: BayesianMfSpec) -> PredictedRatings:
        """Return mean and variance over the samples (the variance by the law of total variance)."""
        means = self.means / self.samples
        variances = np.maximum(self.squares / self.samples - means**2, 0.0)
        return PredictedRatings(
            np.clip(means, spec.lowest, spec.highest),
            np.sqrt(variances),
            np.sqrt(variances + self.noise / self.samples),
        )


def predictions_of(
    sample: Sample,
    conditional: Normals,
    noise: FloatArray,
    users: IntArray,
    items: IntArray,
    spec: BayesianMfSpec,
) -> PredictionSums:
    """Return one sample's sums, with the users' factors integrated out instead of drawn (Rao-Blackwell).

    Args:
        sample: from the server.
        conditional: of the client's users given this sample.
        noise: (users,), t_u, as `conditional` was given.
        users, items: (pairs,), rows.
        spec: the model.
    """
    loadings = sample.items[items].astype(np.float64)
    biases = loadings[:, 0].copy()
    loadings[:, 0] = 1.0
    means = sample.mean[0] + spec.unit * (biases + np.einsum("nd,nd->n", conditional.means[users], loadings))
    variances = spec.unit**2 * conditional.variances(users, loadings)
    precisions = sample.noise[0] * sample.item_noise[items] * noise[users]
    return PredictionSums(means, means**2 + variances, spec.unit**2 / precisions, np.ones(1))
