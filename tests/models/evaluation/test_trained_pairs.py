"""Interactions are recognised again in another partition, whatever their rows there."""

from __future__ import annotations

import numpy as np

from models.evaluation.trained_pairs import among, item_keys, pair_keys, union


def keys_of(pairs: list[tuple[str, str]], user_ids: list[str], item_ids: list[str]) -> np.ndarray:
    users = np.array([user_ids.index(user) for user, _ in pairs])
    items = np.array([item_ids.index(item) for _, item in pairs])
    return pair_keys(user_ids, item_keys(item_ids), users, items)


def test_a_pair_has_the_same_key_in_every_partition_and_no_other_pair_has_it():
    pairs = [("ann", "cup"), ("ann", "pot"), ("bob", "cup"), ("cup", "ann")]
    first = keys_of(pairs, ["ann", "bob", "cup"], ["ann", "cup", "pot"])
    again = keys_of(pairs, ["zoe", "cup", "bob", "ann"], ["pot", "cup", "new", "ann"])
    assert first.tolist() == again.tolist()
    assert len(set(first.tolist())) == len(pairs)


def test_a_thousand_users_and_items_share_no_key():
    names = [str(each) for each in range(1000)]
    users, items = (rows.ravel() for rows in np.indices((1000, 1000)))
    assert len(np.unique(pair_keys(names, item_keys(names), users, items))) == 1000 * 1000


def test_keys_are_found_among_others():
    known = union([np.array([9, 3], dtype=np.uint64), np.array([3, 2**63], dtype=np.uint64)])
    assert known.tolist() == [3, 9, 2**63]
    found = among(np.array([2, 3, 2**63, 2**64 - 1, 9], dtype=np.uint64), known)
    assert found.tolist() == [False, True, True, False, True]
    assert not among(known, union([])).any()
