"""Publishes, in a silo, the champion that the gateway names: its bundle, and the silo's users beside it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Sequence

from models.errors import CorruptArtifact, DiskFull, InvalidInput, NotFound
from tasks.bundles.bundle import open_bundle
from tasks.bundles.pointer import MANIFEST, Pointer, Target, read_pointer, write_pointer
from tasks.bundles.published import intact, remove_unused
from tasks.bundles.serving_folder import serving_folder
from tasks.local.folders import build_folder
from tasks.local.home import Home
from tasks.publishing.follow import follow
from tasks.publishing.silo_users import SiloUsers
from tasks.silos.gateway_client import GatewayClient
from tasks.silos.joined import joined
from tasks.silos.keys import load_key
from tasks.silos.promotion import Promotion


class GatewayPublisher:
    """Publishes the champion of one model in a silo.

    Args:
        home: of the silo.
        client: the connection to the gateway.
        model_name: the model.
        users: the silo's own.
    """

    def __init__(self, home: Home, client: GatewayClient, model_name: str, users: SiloUsers) -> None:
        self._client, self._model_name, self._users = client, model_name, users
        self._folder = serving_folder(home, model_name, users.silo)
        self._last: tuple[Promotion, Pointer] | None = None

    def publish(self) -> Pointer:
        """Fetch what is missing of the champion, and make the pointer name it.

        Raises:
            NotFound: nothing is promoted that this silo may serve.
            DiskFull: the bundle is larger than the free space. Nothing was fetched.
            GatewayAway, GatewayRefused, ForgedAnswer: the gateway gave no valid answer.
            CorruptArtifact: the bundle does not match its SHA-256, or scores otherwise. The pointer stays.
        """
        promotion = chosen_promotion(self._client.promotions(), self._model_name)
        if self._last and self._last[0] == promotion:
            return self._last[1]
        try:
            served = read_pointer(self._folder)
        except CorruptArtifact:
            served = None
        if intact(self._folder, promotion.bundle, served) != promotion.manifest_sha256:
            self._fetch(promotion)
        manifest = json.loads((self._folder / promotion.bundle / MANIFEST).read_bytes())
        if manifest["facts"]["model_name"] != self._model_name:
            raise CorruptArtifact(
                f"Bundle {promotion.bundle} is of model {manifest['facts']['model_name']!r}."
            )
        users = self._users.publish_beside(self._folder, promotion.bundle, manifest["facts"])
        wanted = Pointer(Target(promotion.bundle, promotion.manifest_sha256, promotion.decision, users))
        if wanted != served:
            write_pointer(self._folder, wanted)
            remove_unused(self._folder, wanted)
        self._last = promotion, wanted
        return wanted

    def _fetch(self, promotion: Promotion) -> None:
        with build_folder(self._folder / promotion.bundle) as folder:
            needed, free = sum(file.bytes for file in promotion.files), shutil.disk_usage(folder).free
            if needed > free:
                raise DiskFull(
                    f"Bundle {promotion.bundle} has {needed / 1e9:,.1f} GB, but {free / 1e9:,.1f} GB are "
                    f"free below {self._folder}.",
                    next_step="Free space there. The bundle is then fetched by itself.",
                )
            for file in promotion.files:
                self._client.download(file, folder / file.name)
            open_bundle(folder, promotion.manifest_sha256)


def follow_gateway(
    home: Home,
    url: str,
    model_name: str,
    users: SiloUsers,
    interval: float,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Publish a model's champion whenever the gateway names another one, until `stop` is set.

    Args:
        home: of the silo.
        url: address of the gateway that the silo has joined.
        model_name: the model.
        users: the silo's own.
        interval, stop, say: as `follow` has them.

    Raises:
        FedrecError: the silo has joined no gateway, or has no key.
    """
    client = GatewayClient(joined(home).address(url), load_key(home))
    publisher = GatewayPublisher(home, client, model_name, users)
    follow(publisher.publish, serving_folder(home, model_name, users.silo), interval, stop, say)


def chosen_promotion(promotions: Sequence[Promotion], model_name: str | None) -> Promotion:
    """Return the promotion of this model, or the only one if no name is given.

    Raises:
        NotFound: there is none.
        InvalidInput: no name is given, and there are several.
    """
    found = [each for each in promotions if model_name in (None, each.model_name)]
    if not found:
        named = f" of model {model_name!r}" if model_name else ""
        raise NotFound(
            f"The gateway has nothing promoted{named} that this silo may serve.",
            next_step="A silo may serve the models that it took part in, once the coordinator has promoted a "
            "version (fedrec promote) and publishes it (fedrec serve, or fedrec publish --watch).",
        )
    if len(found) > 1:
        names = sorted(each.model_name for each in found)
        raise InvalidInput(
            f"{len(found)} models are promoted: {', '.join(names)}.",
            next_step=f"Choose one with --model NAME, such as --model {names[0]}.",
        )
    return found[0]
