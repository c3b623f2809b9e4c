"""Adaptive server optimisers, which use the mean of the clients' differences as a gradient.

Reddi et al. 2021 (Adaptive Federated Optimization, algorithm 2), for parameters w and the mean difference d:

    m' = beta1 m + (1 - beta1) d
    v' = v + d^2                                 FedAdagrad
    v' = v - (1 - beta2) d^2 sign(v - d^2)       FedYogi
    v' = beta2 v + (1 - beta2) d^2               FedAdam
    w' = w + rate m' / (sqrt(v') + tau)

with m = 0 and v = tau^2 before the first round. The accumulators of the clients' own Adagrad are not
parameters: they are averaged. m and v are stored in `GlobalModel.moments`, so that they are committed with
their model. Clients do not use them, but download them, which doubles the bytes.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from models.federation.contribution import RunningSum
from models.federation.model import GlobalModel, ItemArrays, Moments, require
from models.kernel.arrays import FloatArray
from models.recommenders.lightfm.delta_rules import Mean


@dataclass(frozen=True)
class ServerOptimiser(Mean):
    """An adaptive step along the mean of the clients' differences. Subclasses define the update of v.

    Attributes:
        server_learning_rate: the rate.
        beta1: decay rate of the first moment per round.
        beta2: decay rate of the second moment per round.
        tau: the degree of adaptivity, from the paper's recommendation.
    """

    server_learning_rate: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    @abstractmethod
    def second_moment(self, v: FloatArray, squared: FloatArray) -> FloatArray:
        """Return v after a round with this squared mean difference; all float64."""

    def finish(self, state: RunningSum[ItemArrays], base: GlobalModel) -> GlobalModel:
        """Return the next global model with its moments (all float32).

        Raises:
            InvalidInput: no update was added, or all weights are zero.
        """
        averaged = super().finish(state, base)
        items = require(base.items, ItemArrays)
        before = base.moments or _moments_at_rest(items, self.tau)
        embeddings, m, v = self._stepped(
            items.embeddings,
            state.total.embeddings / state.weight,
            before.embeddings,
            before.embedding_accumulators,
        )
        biases, m_biases, v_biases = self._stepped(
            items.biases, state.total.biases / state.weight, before.biases, before.bias_accumulators
        )
        return replace(
            averaged,
            items=replace(require(averaged.items, ItemArrays), embeddings=embeddings, biases=biases),
            moments=Moments(m, m_biases, v, v_biases),
        )

    def _stepped(
        self, w: FloatArray, d: FloatArray, m: FloatArray, v: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return w', m' and v' (float32) of one array."""
        m = self.beta1 * m.astype(np.float64) + (1.0 - self.beta1) * d
        v = self.second_moment(v.astype(np.float64), np.square(d))
        w = w + self.server_learning_rate * m / (np.sqrt(v) + self.tau)
        return w.astype(np.float32), m.astype(np.float32), v.astype(np.float32)


class FedAdagrad(ServerOptimiser):
    """Adagrad (Duchi et al. 2011) on the server: v only grows."""

    def second_moment(self, v: FloatArray, squared: FloatArray) -> FloatArray:
        return v + squared


class FedAdam(ServerOptimiser):
    """Adam (Kingma & Ba 2015) on the server: v is a moving average."""

    def second_moment(self, v: FloatArray, squared: FloatArray) -> FloatArray:
        return self.beta2 * v + (1.0 - self.beta2) * squared


class FedYogi(ServerOptimiser):
    """Yogi (Zaheer et al. 2018) on the server: like Adam's, but v shrinks more slowly."""

    def second_moment(self, v: FloatArray, squared: FloatArray) -> FloatArray:
        return v - (1.0 - self.beta2) * squared * np.sign(v - squared)


def _moments_at_rest(items: ItemArrays, tau: float) -> Moments:
    """Return the moments before the first round: m = 0, v = tau^2."""
    return Moments(
        embeddings=np.zeros_like(items.embeddings),
        biases=np.zeros_like(items.biases),
        embedding_accumulators=np.full_like(items.embeddings, tau**2),
        bias_accumulators=np.full_like(items.biases, tau**2),
    )
