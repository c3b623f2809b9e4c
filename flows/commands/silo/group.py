"""`fedrec silo`: the commands of a silo's owner."""

from __future__ import annotations

from flows.terminal.lazy_group import lazy_group

command = lazy_group(
    "silo",
    """Run a silo. Its owner uses these commands where the silo's data are.

    Keys, settings and ledger of a silo are below FEDREC_HOME, like all other state.
    """,
    enrol="Make the key pair with which this silo signs its answers.",
    roster="Name the silos with which this one takes part in secure sums.",
    join="Join a federation with the coordinator's invitation.",
    doctor="Examine the connection to the gateway, the data and the policy.",
    start="Run this silo's steps on its data until stopped.",
    serve="Serve this silo's users from their own embeddings, over HTTP.",
    benefit="Show whether taking part helped this silo's users.",
    egress="Show what left this silo, and what was refused.",
)
