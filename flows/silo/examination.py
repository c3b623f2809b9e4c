"""What `fedrec silo doctor` looks at, in the order in which a silo needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.silo.settings import SiloSettings, load_silo_settings
from models.errors import FedrecError
from tasks.datasets.source import read_source
from tasks.local.home import Home
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.gateway_client import PROTOCOL, GatewayAway, GatewayClient
from tasks.silos.joined import joined
from tasks.silos.keys import fingerprint, load_key, public_pem
from tasks.silos.roster import own_public, read_roster

_LEAST_FREE_BYTES = 1_000_000_000
# The gateway refuses requests from a clock that is off by more than 300 s.
_CLOCK_OFF_S = 60.0


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        name: what was looked at.
        ok: whether it is as it should be.
        finding: in one sentence.
        next_step: what to do; empty if nothing.
    """

    name: str
    ok: bool
    finding: str
    next_step: str = ""


def examine(home: Home, settings_path: Path | None = None, url: str | None = None) -> list[Check]:
    """Return what is right and wrong with a silo; checks that need a failed one are left out.

    Args:
        home: of the silo.
        settings_path: its settings; None for silo.yaml of the home.
        url: another address of the gateway that the silo has joined.
    """
    found: list[Check] = []

    def look(name: str, do: Callable[[], str], next_step: str) -> bool:
        try:
            found.append(Check(name, True, do()))
        except FedrecError as error:
            found.append(Check(name, False, error.what, error.next_step or next_step))
        except OSError as error:
            found.append(
                Check(name, False, f"{type(error).__name__}: {error}.", "Correct the path or its rights.")
            )
        return found[-1].ok

    settings: list[SiloSettings] = []
    users: list[int] = []
    if look("settings", lambda: _settings(settings_path, settings), "Correct this key in silo.yaml."):
        look(
            "data",
            lambda: _data(settings[0], users),
            "Correct the files, or `source` in silo.yaml: docs/data.md says what they may look like.",
        )
        look("policy", lambda: _policy(settings[0], users), "Correct `policy` in silo.yaml.")
        look(
            "roster",
            lambda: _roster(home, settings[0]),
            "Get public.pem from the owners of other silos, and add it: fedrec silo roster NAME public.pem.",
        )
    look("disk", lambda: _disk(home), "Free some space.")
    look("ledger", lambda: _ledger(home), "Find out who changed FEDREC_HOME/egress.jsonl; a backup may help.")
    has_key = look(
        "key",
        lambda: f"this silo signs with key {fingerprint(load_key(home).public)}.",
        "Join with the coordinator's invitation, which makes a key: fedrec silo join FILE.",
    )
    if has_key:
        found.extend(_connection(home, settings[0] if settings else None, url))
    return found


def _settings(path: Path | None, found: list[SiloSettings]) -> str:
    found.append(load_silo_settings(path))
    return f"silo {found[0].name!r}."


def _data(settings: SiloSettings, users: list[int]) -> str:
    rows = read_source(settings.data_source()).interactions
    users.append(len(rows.users))
    return f"{len(rows.user_codes):,} interactions of {len(rows.users):,} users can be read."


def _policy(settings: SiloSettings, users: Sequence[int]) -> str:
    policy = settings.policy
    if users and users[0] < policy.min_users:
        raise FedrecError(
            f"the data have {users[0]:,} users, and min_users is {policy.min_users:,}: "
            "no update and no figures would leave.",
            next_step="Lower policy.min_users in silo.yaml, or wait until there are more users.",
        )
    kinds = ", ".join(policy.may_leave) or "nothing"
    most, least = f"{policy.max_update_bytes:,} bytes", f"{policy.min_users:,} users"
    readable = (
        "plain: true lets updates and figures leave readable, if a job has no secure sums"
        if policy.plain
        else "plain: false lets updates and figures leave in secure sums only"
    )
    published = f"; publish lets {', '.join(policy.publish)} leave readable" if policy.publish else ""
    noise = ""
    if policy.max_epsilon is not None:
        noise = f"; max_epsilon allows only jobs with noise for an epsilon of at most {policy.max_epsilon:g}"
    return f"{kinds} may leave, at most {most}, with at least {least}; {readable}{published}{noise}."


def _roster(home: Home, settings: SiloSettings) -> str:
    members, least = read_roster(home), settings.policy.min_cohort
    own = own_public(home)
    itself = [name for name, public in members.items() if name == settings.name or public == own]
    if itself:
        raise FedrecError(
            f"the roster has this silo itself, as {', '.join(itself)}.",
            next_step=f"Remove it: fedrec silo roster {itself[0]} --remove",
        )
    if len(members) + 1 >= least:
        return f"this silo takes part in secure sums with {', '.join(members)}."
    if settings.policy.plain and not members:
        return "empty, so this silo takes part in no secure sums."
    raise FedrecError(
        f"the roster has {len(members)} other silos, and the least secure sum that the policy allows has "
        f"{least} members with this one: there is none.",
        next_step="Get public.pem from the owners of other silos, and add it: fedrec silo roster NAME "
        "public.pem. If there are no more silos, lower policy.min_cohort, which is at least 3.",
    )


def _disk(home: Home) -> str:
    home.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home.root).free
    if free < _LEAST_FREE_BYTES:
        raise FedrecError(
            f"{free / 1e6:,.0f} MB are free below {home.root}.",
            next_step="Free at least 1 GB: snapshots of the data and models are kept there.",
        )
    return f"{free / 1e9:,.1f} GB are free below {home.root}."


def _ledger(home: Home) -> str:
    entries = EgressLedger(home).read_verified().entries
    return f"the egress ledger is intact, with {len(entries):,} entries."


def _connection(home: Home, settings: SiloSettings | None, url: str | None) -> Iterator[Check]:
    try:
        address = joined(home).address(url)
        client = GatewayClient(address, load_key(home))
        facts, silos = client.facts(), client.roster()
    except FedrecError as error:
        away = "Check the address, the firewall and the proxy between; or the gateway does not run now."
        is_away = isinstance(error, GatewayAway) and not error.facts.get("is_untrusted")
        yield Check("gateway", False, error.what, away if is_away else error.next_step)
        return
    yield Check("gateway", True, f"{address.url} answers, with version {facts['version']}.")
    oldest, newest = int(facts["oldest_protocol"]), int(facts["protocol"])
    yield Check(
        "protocol",
        oldest <= PROTOCOL <= newest,
        f"this silo speaks protocol {PROTOCOL}, the gateway {oldest} to {newest}.",
        "" if oldest <= PROTOCOL <= newest else "Install the coordinator's version of fedrec.",
    )
    offset = float(facts["clock_offset_s"])
    is_right = abs(offset) <= _CLOCK_OFF_S
    yield Check(
        "clock",
        is_right,
        f"this machine's clock is {offset:+.0f} s from the gateway's.",
        ""
        if is_right
        else "Set the clock, for example with NTP: from 300 s on the gateway refuses requests.",
    )
    if settings is not None:
        same = facts["silo"] == settings.name
        yield Check(
            "name",
            same,
            f"the gateway knows this key as silo {facts['silo']!r}.",
            "" if same else f"Set name: {facts['silo']} in the settings.",
        )
        yield from _members(home, settings.name, {each["silo"]: each["public_key"] for each in silos})


def _members(home: Home, own: str, at_gateway: Mapping[str, str]) -> Iterator[Check]:
    """Compare the roster, unless it is empty, with the keys that the coordinator has (name -> PEM).

    It is no fault if the roster lacks a silo: a coordinator that could make owners add what it lists could
    add silos of its own.
    """
    try:
        roster = {name: public_pem(public).decode() for name, public in read_roster(home).items()}
    except FedrecError:  # which the check of the roster reports
        return
    others = [name for name, key in roster.items() if at_gateway.get(name, key) != key]
    missing = [name for name in at_gateway if name not in roster and name != own]
    if others:
        yield Check(
            "members",
            False,
            f"the coordinator's key of {', '.join(others)} is not that of the roster.",
            "Ask the silo's owner, not the coordinator, which fingerprint is right. If its key is new: "
            "fedrec silo roster NAME public.pem --force.",
        )
    elif roster and missing:
        yield Check(
            "members",
            True,
            f"the roster lacks {', '.join(missing)}, with whom this silo takes part in no secure sum.",
            "If you want that, get public.pem from the silo's owner: fedrec silo roster NAME public.pem.",
        )
    elif roster:
        yield Check("members", True, "the roster has all silos of the coordinator, with the same keys.")
