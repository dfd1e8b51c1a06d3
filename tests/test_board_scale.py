"""What a board hands out is what looking at everything would choose, and thousands of things cost it nothing."""

import random
import time

from realfake.board import Board
from realfake.needs import Needs, foundations, needs
from realfake.samples import shards_of
from realfake.spec import Subset, address
from realfake.store import Store
from tests.by_hand import OK, board, make_shard, shard
from tests.test_board import pool, trial


def best(made, shards, free):
    """Return what is ready and comes first, found the long way; None if nothing is.

    ``shards`` are how many each pool lacked at first; ``free`` is what stood on nothing.
    """

    def there(held):
        if isinstance(held, Subset):
            return not made.needs.shards.get(address(held.of), set()) & set(shards_of(held.size))
        return address(held) not in made.waiting and address(held) not in made.running

    ready = [name for name, spec in made.waiting.items() if all(map(there, foundations(spec)))]
    hanging = {address(of.generator): shards[name] for name, of in made.needs.pools.items()}
    order = {name: turn for turn, name in enumerate(made.specs)}
    key = {name: (-hanging.get(name, 0), name not in made.needs.fits, name in free, order[name]) for name in ready}
    return min(ready, key=key.__getitem__, default=None)


def test_it_hands_out_what_looking_at_everything_would(tmp_path):
    for seed in range(20):
        chance = random.Random(seed)
        volumes = [(chance.choice((0, 100, 300, 700, 900)), chance.choice((50, 100, 200))) for _ in range(15)]
        specs = list(dict.fromkeys(trial(volume, size, seed=k) for k, (volume, size) in enumerate(volumes)))
        made, sent = board(tmp_path / str(seed), specs, ahead=5)
        shards = {name: len(lacking) for name, lacking in made.needs.shards.items()}
        free = {address(one) for one in specs if not one.synthetic}
        made.feed()
        running = []
        while not (made.over() and made.synthesis_over()):
            if chance.random() < 0.5:
                expected = best(made, shards, free)
                given = made.next()
                assert given == expected, (seed, given, expected)
                running += [given] if given else []
            elif running and chance.random() < 0.5:
                made.finished(running.pop(chance.randrange(len(running))), OK)
            elif sent:
                made.shard_made(shard(*sent.pop(chance.randrange(len(sent)))))
        assert not made.failed


def driven(count, failing=False):
    """Return the CPU seconds of a board with so many trials over pools of 100 shards, without its store."""
    pools = [pool(seed=seed) for seed in range(count // 100)]
    trials = [trial(256 * (k + 1), of=of, seed=s) for s, of in enumerate(pools) for k in range(100)]
    lacking = {address(of): set(shards_of(25_600)) for of in pools}
    fits = {address(of.generator): of.generator for of in pools}
    sent = []
    by_address = {address(one): one for one in trials}
    known = Needs(by_address, fits, {address(of): of for of in pools}, lacking)
    started = time.process_time()
    made = Board(Store("none"), known, ahead=5, add_due=sent.extend)
    made.feed()
    while not (made.over() and made.synthesis_over()):
        if (name := made.next()) is None:
            made.shard_made(shard(*sent.pop(0)))
        else:
            made.finished(name, {"error": "broken"} if failing and name in by_address else OK)
    assert len(made.failed) == (len(trials) if failing else 0)
    return time.process_time() - started


def test_thousands_of_trials_cost_a_board_next_to_nothing():
    """2,000 trials and 2,000 shards take 0.05 s; to look at everything each time took 14 s."""
    assert driven(2000) < 3
    assert driven(2000, failing=True) < 3


def test_a_pool_is_listed_once_however_many_volumes_are_asked_of_it(tmp_path, monkeypatch):
    store, listed = Store(tmp_path), []
    for first in (0, 256):
        make_shard(store, pool(), first)
    real = Store.files
    monkeypatch.setattr(Store, "files", lambda self, spec: listed.append(spec) or real(self, spec))
    found = needs([trial(volume, seed=volume) for volume in (100, 300, 200, 900, 600)], store)
    assert found.shards == {address(pool()): {512, 768}}
    assert listed == [pool()]
