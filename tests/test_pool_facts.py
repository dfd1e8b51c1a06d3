"""How images were drawn: from a shard's footer into records, tables, MLflow and the report, outside every digest."""

import json
from dataclasses import replace

import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from click.testing import CliRunner  # noqa: E402

from realfake import cli, pool_facts, records  # noqa: E402
from realfake.generators import open_set, pipelines  # noqa: E402
from realfake.pictured import drawn  # noqa: E402
from realfake.report import pools  # noqa: E402
from realfake.samples import shard_digest, shard_name  # noqa: E402
from realfake.shards import read_table, write_table  # noqa: E402
from realfake.spec import BestOf, LatentPrior, Relabel, Study, Subset, address  # noqa: E402
from realfake.studyfile import StudyFile  # noqa: E402
from realfake.synthesis import Maker  # noqa: E402
from realfake.tracking.runs import trial_run  # noqa: E402
from realfake.training import make  # noqa: E402
from tests import tiny, tiny_open_set  # noqa: E402
from tests.tiny_open_set import store  # noqa: E402

PRIOR = tiny_open_set.pool(tiny_open_set.open_set(prior=LatentPrior(strength=0.5)), solver="ddim", sampling_steps=2)
CRITIC = tiny.trial(real=tiny.real(60), seed=5)
BEST = replace(PRIOR, generator=BestOf(generator=PRIOR.generator, k=2, critic=CRITIC))


def trial(pool):
    return tiny.trial(real=None, synthetic=(Subset(of=pool, size=40),))


TRIALS = (trial(PRIOR), trial(BEST), trial(tiny.repeat_pool()))


@pytest.fixture(scope="module")
def made():
    """Shards and trials, made as a run makes them; what the pools say, and the results of the trials."""
    whole = tiny_open_set.pipeline()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "load_pipeline", lambda *_: whole)
        make(CRITIC, store(), lambda event: None, tiny.CPU)
        maker = Maker(store(), "cpu")
        for pool in (PRIOR, BEST, tiny.repeat_pool()):
            maker.make(pool, 0)
    results = [make(each, store(), lambda event: None, tiny.CPU) for each in TRIALS]
    return results


def test_a_footer_says_how_images_were_drawn(made):
    told = pool_facts.of_pool(store(), address(PRIOR))
    assert (told["executed_steps"], told["unet_evaluations"]) == (1, 2)  # 0.5 of 2 steps, both branches
    scheduler = tiny_open_set.pipeline().scheduler
    keep = float(scheduler.alphas_cumprod[told["t_start"]])
    assert told["snr"] == pytest.approx(keep / (1 - keep))
    assert told["from_real_latents"]
    best = pool_facts.of_pool(store(), address(BEST))
    assert (best["unet_evaluations"], best["candidates_per_kept"]) == (4, 2)
    assert (best["critic"], best["critic_real_budget"]) == (address(CRITIC), 60)
    assert pool_facts.of_pool(store(), address(tiny.repeat_pool())) == {}


def test_records_of_trials_say_so_of_every_pool(made):
    for result, pool in zip(made, (PRIOR, BEST, tiny.repeat_pool()), strict=True):
        told = pool_facts.of_pool(store(), address(pool))
        assert result["pools"] == [{"pool": address(pool), "images": 40, **told}]
    assert made[1]["real_budget"] == 60  # the fifty of the prior lie inside those of the critic


def test_tables_have_columns_of_it_where_it_is_known(made):
    rows = records.table(TRIALS, store())
    assert {name: rows[1][name] for name in pool_facts.COLUMNS} == {
        **{"executed_steps": 1.0, "t_start": rows[0]["t_start"], "snr": rows[0]["snr"], "unet_evaluations": 4.0},
        **{"candidates_per_kept": 2.0, "critic_real_budget": 60.0},
        **{"chosen_by": "class consistency", "critic": address(CRITIC)},
    }
    assert "critic" not in rows[0]
    assert not set(pool_facts.COLUMNS) & set(rows[2])
    run = trial_run(store().record(TRIALS[1]), pd.DataFrame(rows).to_dict("records")[1], {})
    assert (run.params["unet_evaluations"], run.params["critic"]) == (4.0, address(CRITIC))


def test_what_pools_differ_in_is_no_column():
    told = pool_facts.in_columns([{"t_start": 5, "snr": 1.0}, {"t_start": 6, "snr": 1.0}, {"pool": "pool-0"}])
    assert told == {"snr": 1.0}


def test_queries_give_it_from_the_store_and_leave_it_out_where_there_is_none(made):
    from realfake.queries import trials

    table = trials(Study(name="drawn", trials=TRIALS), store=str(store().root))
    assert table["unet_evaluations"].tolist()[:2] == [2.0, 4.0]
    assert pd.isna(table["unet_evaluations"][2])
    plain = trials(Study(name="plain", trials=TRIALS[2:]), store=str(store().root))
    assert not set(pool_facts.COLUMNS) & set(plain)


def test_show_tells_it_of_a_pool(made):
    shown = CliRunner().invoke(cli.main, ["show", address(BEST), "--store", str(store().root)])
    found = json.loads(shown.output)
    assert (found["kind"], found["shards"], found["rows"]) == ("pool", 1, 256)
    assert found["drawn"] == pool_facts.of_pool(store(), address(BEST))
    record = pool_facts.shown(store(), address(CRITIC))
    assert record["result"]["real_budget"] == 60


def test_the_report_has_a_row_for_every_way_of_drawing(made, tmp_path):
    file = StudyFile(Study(name="drawn", trials=TRIALS), tmp_path / "drawn.py", "?")
    told = drawn(file, store())
    assert {(one["pool"], one["images"]) for one in told} == {(address(PRIOR), 40), (address(BEST), 40)}
    page = pools.drawn({"drawn": told}).source
    assert "real images the critic saw" in page
    assert page.count(address(CRITIC)) == 1
    assert not pools.drawn({"drawn": []}).source


def test_digests_know_nothing_of_it_and_shards_without_it_are_read(made, tmp_path):
    path = store().folder(PRIOR) / shard_name(0)
    old = tmp_path / "old.parquet"
    write_table(read_table(path).replace_schema_metadata({b"realfake.digest": shard_digest(path).encode()}), old)
    assert shard_digest(old) == shard_digest(path)
    assert len(read_table(old)) == 256
    folder = store().folder("pool-of-old")
    folder.mkdir()
    old.rename(folder / shard_name(0))
    assert pool_facts.of_pool(store(), "pool-of-old") == {}


def test_images_under_permuted_labels_are_drawn_as_those_they_are(made):
    from realfake import generators

    whole = tiny_open_set.pipeline()
    asked = replace(PRIOR, generator=Relabel(generator=PRIOR.generator))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "load_pipeline", lambda *_: whole)
        loaded = generators.load_generator(asked.generator, store())
    assert generators.facts(loaded, asked, store()) == open_set.facts(loaded.inner, PRIOR)
