"""`fedrec bench`: measurements of fedrec."""

from __future__ import annotations

from flows.terminal.lazy_group import lazy_group

command = lazy_group(
    "bench",
    "Measure fedrec on this machine.",
    quality="Compare every family, federated, pooled and alone, with baselines.",
    serving="Measure the serving process with wrk.",
    gateway="Measure the gateway: orders to many waiting silos, uploads and rounds.",
    overhead="Measure what a job costs besides its training.",
    cold_start="Compare new items, new users and new silos with naive recommenders.",
    leak="Show how much a leak in published code raises the metrics.",
    secure="Measure what secure sums cost, beside plain ones.",
    attacks="Read users off updates and lift an item by false ones, with each defence.",
    privacy="Measure quality against epsilon, beside two floors.",
    canaries="Show by attacks what noise really hides, beside what is claimed.",
    ratings="Measure predicted ratings: RMSE, MAE and accuracies.",
)
