"""The commands around the gateway, as a coordinator and a silo's owner run them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.silo.examination import Check, examine
from tasks.bundles.pointer import Pointer, write_pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.coordinator.trust_store import TrustStore
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.gateway.database import open_database
from tasks.gateway.members import Members
from tasks.local.home import Home
from tasks.silos.keys import make_key
from tasks.silos.roster import add_member
from tests.servers.free_port import free_port
from tests.waiting import until
from tests.worlds.served import ids, put_bundle, running

CHECKOUT = Path(__file__).parents[4]
SETTINGS = "name: {name}\nsource: {{folder: {folder}}}\n"


@dataclass
class Place:
    """A coordinator with a gateway, and the silo of another organisation.

    Attributes:
        root: of both homes.
        port: of the gateway.
    """

    root: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def fedrec(self, home: str, *arguments: str, code: int = 0) -> str:
        """Return what a command prints on stdout. Both streams are in the message of a failure."""
        done = subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            cwd=CHECKOUT,
            env=os.environ | {"FEDREC_HOME": str(self.root / home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout or done.stderr

    def json_of(self, home: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fedrec(home, *arguments, "--json", code=code))
        return found

    def checks(self, code: int = 0) -> dict[str, dict[str, Any]]:
        """Return what the doctor finds, by name."""
        return {each["name"]: each for each in self.json_of("ash", "silo", "doctor", code=code)["checks"]}

    def invite(self, silo: str = "ash", *options: str) -> Path:
        path = self.root / f"{silo}.json"
        self.fedrec("coordinator", "invite", silo, "--url", self.url, "--out", str(path), *options)
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run a gateway with a certificate of its own, as the command starts it."""
    here = Place(tmp_path_factory.mktemp("gateway"), free_port())
    here.root.joinpath("ash").mkdir()
    (here.root / "data").mkdir()
    (here.root / "data" / "sales.csv").write_text("user_id,item_id\nu,a\nu,b\nv,a\n")
    settings = SETTINGS.format(name="ash", folder=here.root / "data")
    (here.root / "ash" / "silo.yaml").write_text(settings)
    command = ["gateway", "--port", str(here.port), "--self-signed", "127.0.0.1"]
    metrics = free_port()
    with (here.root / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", *command, "--metrics-port", str(metrics)],
            cwd=CHECKOUT,
            env=os.environ | {"FEDREC_HOME": str(here.root / "coordinator")},
            stdout=log,
            stderr=log,
        )

    def listens() -> bool:
        assert process.poll() is None, (here.root / "log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=5) as answer:
                return b"fedrec_gateway" in answer.read()
        except OSError:
            return False

    until(listens, what="the gateway's start")
    yield here
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)


def test_a_silo_joins_is_examined_and_is_listed(place: Place) -> None:
    before = place.checks(code=1)
    assert before["data"]["finding"] == "3 interactions of 2 users can be read."
    assert not before["key"]["ok"]
    assert "gateway" not in before
    invitation = place.invite()
    assert stat.S_IMODE(invitation.stat().st_mode) == 0o600
    print_ = place.fedrec("coordinator", "gateway", "--fingerprint").strip()
    assert json.loads(invitation.read_bytes())["coordinator"] == print_
    assert place.json_of("coordinator", "silos")["invited"][0]["silo"] == "ash"

    joined = place.json_of("ash", "silo", "join", str(invitation), "--yes")
    assert joined["silo"] == "ash"
    found = place.checks()
    assert all(each["ok"] for each in found.values()), found
    assert {
        "settings",
        "data",
        "policy",
        "roster",
        "disk",
        "ledger",
        "key",
        "gateway",
        "protocol",
        "clock",
        "name",
    } == set(found)
    silos = place.json_of("coordinator", "silos")
    (row,) = silos["silos"]
    assert (row["silo"], row["key_id"]) == ("ash", joined["key_id"])
    assert row["seconds_ago"] < 60
    assert silos["invited"] == []
    assert "ash" in place.fedrec("coordinator", "silos")


def test_a_silo_that_cannot_trust_the_certificate_says_what_to_ask_for(place: Place) -> None:
    """The gateway's certificate is for 127.0.0.1, and the invitation names localhost."""
    assert f"The gateway listens at https://127.0.0.1:{place.port};" in (place.root / "log").read_text()
    (place.root / "willow").mkdir()
    path = place.root / "yew.json"
    place.fedrec(
        "coordinator", "invite", "willow", "--url", f"https://localhost:{place.port}", "--out", str(path)
    )
    failed = place.json_of("willow", "silo", "join", str(path), "--yes", code=1)["error"]
    assert "CERTIFICATE_VERIFY_FAILED" in failed["message"]
    assert "Ask the coordinator for an invitation with the gateway's certificate" in failed["message"]


def test_a_silo_serves_what_is_promoted_without_a_registry(place: Place, tmp_path: Path) -> None:
    (place.root / "fir").mkdir()
    settings = SETTINGS.format(name="fir", folder=place.root / "data")
    (place.root / "fir" / "silo.yaml").write_text(settings)
    place.fedrec("fir", "silo", "join", str(place.invite("fir")), "--yes")
    command = ["silo", "serve", "--data", str(tmp_path / "partition")]
    assert "nothing promoted" in place.fedrec("fir", *command, code=2)

    # The last of ten items for user u, and nothing for nobody.
    (tmp_path / "rows.csv").write_text("user_id,item_id,town\nu,i9,fir\n")
    (tmp_path / "items.csv").write_text("item_id\n" + "\n".join(ids()) + "\n")
    partition = make_partition(
        tmp_path / "rows.csv", tmp_path / "partition", ByColumn("town"), items=tmp_path / "items.csv"
    )
    coordinator = Home(place.root / "coordinator")
    folder = serving_folder(coordinator, "movies")
    Members(open_database(coordinator)).add(["fir"], "movies")

    def promote(version: int) -> None:
        target = put_bundle(folder, version, catalog_digest=partition.catalog.digest)
        write_pointer(folder, Pointer(target))

    promote(1)
    port = free_port()
    run = ["-m", "flows", *command, "--port", str(port)]
    with running(run, port, tmp_path / "log", {"FEDREC_HOME": str(place.root / "fir")}) as service:
        service.wait_until(service.is_ready)
        status, answer, _ = service.ask("POST", "/v1/users/u/recommendations", {"k": 3})
        assert (status, answer["answered_from"]) == (200, "stored history")
        plain = service.recommend(history=[{"item_id": "i9"}], k=3)
        assert answer["recommendations"] == plain["recommendations"]
        promote(2)
        service.wait_until(lambda: service.get("/v1/model")["version"] == 2)
    assert not Home(place.root / "fir").mlflow_database.exists()


def test_a_used_invitation_lets_nobody_else_in(place: Place) -> None:
    invitation = place.invite("birch")
    place.fedrec("birch", "silo", "join", str(invitation), "--yes")
    assert "This invitation was used" in place.fedrec(
        "thief", "silo", "join", str(invitation), "--yes", code=1
    )
    assert not (place.root / "thief" / "gateway.json").exists()


def test_a_removed_silo_is_told_so(place: Place) -> None:
    invitation = place.invite("cedar")
    place.fedrec("cedar", "silo", "join", str(invitation), "--yes")
    place.fedrec("coordinator", "trust", "cedar", "--remove")
    found = place.json_of("cedar", "silo", "doctor", code=1)
    (gateway,) = [each for each in found["checks"] if each["name"] == "gateway"]
    assert "was revoked" in gateway["finding"]
    assert {"silo": "cedar"}.items() <= place.json_of("coordinator", "silos")["revoked"][0].items()


@pytest.mark.parametrize(
    ("settings", "name", "word"),
    [
        (
            SETTINGS.format(name="oak", folder="{data}") + "policy: {min_users: 3}\n",
            "policy",
            "Lower policy.min_users",
        ),
        (SETTINGS.format(name="elm", folder="{data}"), "name", "Set name: oak"),
        (SETTINGS.format(name="oak", folder="/nowhere"), "data", "Correct"),
        ("name: oak\nsource: {folder: x}\nsecret: 1\n", "settings", ""),
    ],
)
def test_the_doctor_says_what_is_wrong(place: Place, settings: str, name: str, word: str) -> None:
    home = place.root / "oak"
    if not home.exists():
        home.mkdir()
        place.fedrec("oak", "silo", "join", str(place.invite("oak")), "--yes")
    (home / "silo.yaml").write_text(settings.replace("{data}", str(place.root / "data")))
    found = {each["name"]: each for each in place.json_of("oak", "silo", "doctor", code=1)["checks"]}
    assert [each for each, check in found.items() if not check["ok"]] == [name]
    assert word in found[name]["next_step"]


def test_the_doctor_compares_the_roster_with_the_coordinator_s_keys(place: Place) -> None:
    home, trusted = Home(place.root / "hazel"), TrustStore(Home(place.root / "coordinator"))
    home.root.mkdir()
    (home.root / "silo.yaml").write_text(SETTINGS.format(name="hazel", folder=place.root / "data"))
    place.fedrec("hazel", "silo", "join", str(place.invite("hazel")), "--yes")
    for name in ("lime", "rowan", "alder"):
        trusted.trust(name, make_key(Home(place.root / name)).public)

    def members() -> Check | None:
        return {each.name: each for each in examine(home, home.root / "silo.yaml")}.get("members")

    assert members() is None
    for name, public in trusted.keys().items():
        if name not in ("hazel", "alder"):
            add_member(home, name, public)
    found = members()
    assert found
    assert found.ok
    assert "the roster lacks alder, " in found.finding
    add_member(home, "alder", trusted.keys()["alder"])
    found = members()
    assert found
    assert (found.ok, found.next_step) == (True, "")
    # A silo that left the gateway does no harm in a roster.
    trusted.remove("alder")
    assert members() == found
    add_member(home, "lime", make_key(Home(place.root / "lime"), force=True).public, force=True)
    found = members()
    assert found
    assert not found.ok
    assert "key of lime is not" in found.finding
    (home.root / "roster" / "lime.pem").write_text("no key")
    wrong = {each.name: each for each in examine(home, home.root / "silo.yaml") if not each.ok}
    assert [*wrong] == ["roster"]
    assert "lime.pem" in wrong["roster"].finding


def test_who_does_not_confirm_the_fingerprint_has_not_joined(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows", "silo", "join", str(place.invite("yew"))],
        cwd=CHECKOUT,
        env=os.environ | {"FEDREC_HOME": str(place.root / "yew")},
        input="n\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Not joined: nothing was sent." in done.stderr
    assert not (place.root / "yew").exists()
    assert "yew" in [each["silo"] for each in place.json_of("coordinator", "silos")["invited"]]


def test_one_home_has_one_agent(place: Place, tmp_path: Path) -> None:
    home = place.root / "elder"
    place.fedrec("elder", "silo", "join", str(place.invite("elder")), "--yes")
    (home / "silo.yaml").write_text(SETTINGS.format(name="elder", folder=place.root / "data"))
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "flows", "silo", "start"],
            cwd=CHECKOUT,
            env=os.environ | {"FEDREC_HOME": str(home)},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: "Connected to the gateway" in (tmp_path / "log").read_text(), what="the agent")
        assert "runs already" in place.fedrec("elder", "silo", "start", code=2)
        assert stat.S_IMODE((home / "gateway" / "agent.lock").stat().st_mode) & 0o077 == 0
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) == 0
    assert (tmp_path / "log").read_text().endswith("Stopped.\n")


def test_a_silo_that_has_not_joined_does_not_start(place: Place) -> None:
    home = place.root / "elm"
    home.mkdir()
    (home / "silo.yaml").write_text(SETTINGS.format(name="elm", folder=place.root / "data"))
    assert "joined no gateway" in place.fedrec("elm", "silo", "start", code=2)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--no-tls", "--host", "0.0.0.0"], "would send orders in clear"),  # noqa: S104
        ([], "Give one of"),
        (["--no-tls", "--self-signed", "x"], "Give one of"),
    ],
)
def test_a_gateway_without_tls_listens_on_this_machine_alone(
    place: Place, options: list[str], word: str
) -> None:
    assert word in place.fedrec("coordinator", "gateway", *options, code=2)


def test_the_orders_address_has_no_password(place: Place, tmp_path: Path) -> None:
    address = "postgresql+psycopg://fedrec:hunter2@127.0.0.1/orders"
    (tmp_path / "job.yaml").write_text(
        "name: x\nmodel_name: x\ndata: {items: items.csv}\n"
        f"runner: {{kind: gateway, silos: [ash], orders: '{address}'}}\n"
    )
    for command in (
        ["train", "--config", str(tmp_path / "job.yaml")],
        ["silos", "--orders", address],
        ["gateway", "--no-tls", "--orders", address],
        ["invite", "ash", "--url", place.url, "--out", str(tmp_path / "i"), "--orders", address],
    ):
        said = place.fedrec("coordinator", *command, code=2)
        assert "contains a password" in said
        assert "pgpass" in said
        assert "hunter2" not in said


def test_a_file_that_is_no_invitation_is_refused(place: Place, tmp_path: Path) -> None:
    for number, text in enumerate(("{}", "x", '{"format": "fedrec.invitation/1"}', "[1]")):
        path = tmp_path / str(number)
        path.write_text(text)
        assert "not an invitation" in place.fedrec("elm", "silo", "join", str(path), "--yes", code=2)
