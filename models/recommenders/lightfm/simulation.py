"""Simulates a federation in one process, with a job's clients, merges and seeds only.

It makes the models of a job byte for byte, but without storage, contracts, deadlines and records. So it takes
a fraction of the time. It is for searches and experiments on data in one place. It uses only what a
coordinator may see: updates are added one by one, and users stay with their client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.federation.fixed_point import size_in_steps
from models.federation.model import GlobalModel, ItemArrays, require
from models.federation.rounds import plan_round
from models.kernel.arrays import ArrayGroup
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm.delta_rules import DeltaRule
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items, initial_users, train_round


class Simulation:
    """Clients that train one model, round after round.

    Args:
        clients: client id -> its training positives.
        spec: the settings of each client.
        rule: round -> its merge rule.
        seed: seed of all randomness.
        cohort_share: share of the clients selected for each round.

    Attributes:
        model: the newest global model.
        users: client id -> its user arrays after its last round.
        update_bytes: size of all updates so far, with all rows.
    """

    def __init__(
        self,
        clients: Mapping[str, TrainingSet],
        spec: LightFMSpec,
        rule: Callable[[int], DeltaRule],
        *,
        seed: int,
        cohort_share: float = 1.0,
    ) -> None:
        self._clients, self._spec, self._rule = dict(clients), spec, rule
        self._family, self._residuals = LightFMFamily(spec), dict[str, ArrayGroup | None]()
        self._seed, self._cohort_share = seed, cohort_share
        n_items = next(iter(clients.values())).shape[1]
        self.model = GlobalModel(0, "", initial_items(n_items, spec.dims, seed))
        self.users = {
            client_id: initial_users(data.shape[0], spec.dims, seed, client_id)
            for client_id, data in clients.items()
        }
        self.update_bytes = 0

    def run_round(self) -> None:
        """Train one more cohort, and merge its updates."""
        base = self.model
        plan = plan_round(
            base.round + 1,
            seed=self._seed,
            clients=self._clients,
            cohort_share=self._cohort_share,
            quorum_share=1.0,
        )
        rule = self._rule(plan.round)
        items = require(base.items, ItemArrays)
        state = rule.summation(base)
        for client_id in plan.cohort:
            data = self._clients[client_id]
            trained, self.users[client_id] = train_round(
                items,
                self.users[client_id],
                data,
                self._spec,
                seed=self._seed,
                round_=plan.round,
                client_id=client_id,
            )
            contribution = rule.contribution(rule.prepare_packed(items, trained), len(data))
            sent, self._residuals[client_id] = self._family.sent(
                contribution, self._residuals.get(client_id), rule.rounded
            )
            state.add(client_id, sent)
        self.model = rule.finish(state.result(), base)
        self.update_bytes += len(plan.cohort) * size_in_steps(items, rule.ranges)
