"""Randomness: a generator per record, the same on every machine and in any order."""

import random

from aloft.randomness import deal_places, rng_for


def test_the_same_seed_and_ids_draw_the_same_on_every_machine() -> None:
    rng = rng_for(7, "contexts", "p1")
    assert [rng.randrange(100) for _ in range(4)] == [80, 99, 87, 72]


def test_seed_and_ids_change_the_draw_and_do_not_run_together() -> None:
    keys: list[tuple[int, tuple[str, ...]]] = [
        (0, ("ab", "c")),
        (0, ("a", "bc")),
        (0, ("abc",)),
        (0, ("abc", "")),
        (1, ("ab", "c")),
        (1, ("2",)),
        (12, ()),
    ]
    assert len({rng_for(seed, *ids).random() for seed, ids in keys}) == len(keys)


def test_one_generator_does_not_move_another() -> None:
    alone = rng_for(0, "b").random()
    rng_for(0, "a").random()
    assert rng_for(0, "b").random() == alone


def test_the_global_generator_stays_where_it_was() -> None:
    before = random.getstate()
    rng_for(0, "a").shuffle(list(range(10)))
    assert random.getstate() == before


def test_places_are_dealt_evenly_per_size() -> None:
    sizes = [3, 2, 3, 3, 2, 3, 3, 3, 1]
    places = deal_places(sizes, 0, "x")
    assert sorted(p for p, size in zip(places, sizes, strict=True) if size == 3) == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert sorted(p for p, size in zip(places, sizes, strict=True) if size == 2) == [0, 1]
    assert places[-1] == 0
    assert deal_places([], 0) == []


def test_a_deal_is_drawn_by_its_seed_and_ids() -> None:
    assert deal_places([5] * 50, 0, "x") == deal_places([5] * 50, 0, "x")
    assert deal_places([5] * 50, 0, "x") != deal_places([5] * 50, 1, "x")
    assert deal_places([5] * 50, 0, "x") != deal_places([5] * 50, 0, "y")
    assert deal_places([5] * 50, 0, "x")[:5] != deal_places([5] * 50, 0, "x")[5:10]
