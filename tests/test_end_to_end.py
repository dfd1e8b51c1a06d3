"""The whole way, as a user goes it: the command, through Ray Data, Train and Tune, into MLflow, and back out of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = '''"""How many tiny digits are worth one?"""
from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe = Recipe(model="test_resnet", examples_seen=640)

def trial(size, seed, volume=0):
    real = Subset(of=train, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, steps=20, seed=seed), sampling_steps=2, seed=seed)
    synthetic = (Subset(of=pool, size=volume),) if volume else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)

seeds = SEEDS
ladder = (trial(size, seed) for size in (20, 40, 80, 160, 320) for seed in seeds)
mixed = (trial(40, seed, volume) for volume in VOLUMES for seed in seeds)
study = Study(name="tiny", trials=(*ladder, *mixed))
'''
OPEN_SET = """
from realfake import LatentPrior, Lora, OpenSet, Pretrained

few = {"batch_size": 4, "steps": 2}
base = Pretrained(real=Subset(of=train, size=20, seed=9), network="sd-tiny", autoencoder_steps=2, text_steps=2, **few)
real = Subset(of=train, size=40)
aligned = OpenSet(base=base, real=real, lora=Lora(base=base, real=real, **few), prior=LatentPrior(strength=0.5))
pool = Pool(generator=aligned, sampling_steps=2)
aided = Trial(real=real, synthetic=(Subset(of=pool, size=40),), test=test, recipe=recipe)
study = Study(name="tiny", trials=(*study.trials, aided))
"""


def study_file(folder, seeds=(0, 1), volumes=(40, 300), more=""):
    path = folder / "tiny.py"
    path.write_text(STUDY.replace("SEEDS", str(seeds)).replace("VOLUMES", str(volumes)) + more)
    return path


def realfake(folder, *arguments, expect=0):
    """Run the command in a folder; return what it printed on stdout and on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "realfake", *arguments], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == expect, done.stderr[-3000:] + done.stdout[-1000:]
    return done.stdout, done.stderr


def files(store):
    """Return the content digest of every made file: what must be equal however the making went."""
    records = {p.parent.name: json.loads(p.read_text())["files"] for p in store.glob("*/record.json")}
    kept = {name: dict(found.items()) for name, found in records.items()}
    return kept, sorted(str(p.relative_to(store)) for p in store.glob("pool-*/*.parquet"))


def shards(store):
    """Return the digest that each shard's footer states, and what it says of how its images were drawn."""
    from realfake.samples import shard_digest, shard_made

    found = sorted(store.glob("pool-*/*.parquet"))
    return {str(p.relative_to(store)): (shard_digest(p), shard_made(p)["drawn"]) for p in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which the tiny study has been run once, by the command."""
    folder = tmp_path_factory.mktemp("user")
    out, err = realfake(folder, "run", str(study_file(folder, more=OPEN_SET)))
    return folder, out, err


@pytest.mark.timeout(900)
def test_a_run_makes_everything_and_prints_the_answer(made):
    folder, out, err = made
    assert "tiny.py" not in err or "Traceback" not in err
    assert "cross-entropy" in out
    assert "real-only" in out or "ladder" in out
    assert (folder / "store/studies/tiny/report.html").stat().st_size > 10_000
    assert "mlflow ui" in err
    assert len(list((folder / "store").glob("trial-*/record.json"))) == 15
    assert len(list((folder / "store").glob("closedset-*/record.json"))) == 2
    assert len(list((folder / "store").glob("pool-*/*.parquet"))) == 5
    assert len(list((folder / "store").glob("lora-*/record.json"))) == 1
    assert not list((folder / "store/.scratch").iterdir())


def test_the_second_run_makes_nothing_and_says_the_same(made):
    folder, out, _ = made
    before = files(folder / "store")
    code = f"""
import sys, runpy
sys.argv = ["realfake", "run", {str(folder / "tiny.py")!r}]
try:
    runpy.run_module("realfake", run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {{"ray", "torch", "mlflow", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    again = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout == out
    assert "0 fits, 0 images, 0 trials" in again.stderr
    assert files(folder / "store") == before


def test_curves_come_from_mlflow_alone_with_the_store_moved_away(made, tmp_path):
    folder, _, _ = made
    shutil.copy(folder / "store/mlflow.db", tmp_path / "mlflow.db")
    out, _ = realfake(tmp_path, "curves", "--study", "tiny", "--json", "--uri", f"sqlite:///{tmp_path}/mlflow.db")
    rows = json.loads(out)
    mixed = [row for row in rows if row["arm"] == "closed-set"]
    assert {(row["n_real"], row["n_synthetic"]) for row in mixed} == {(40, 40), (40, 300)}
    assert {row["n_real"] for row in rows if row["arm"] == "real-only"} == {20, 40, 80, 160, 320}
    assert all(row["error_low"] <= row["error"] <= row["error_high"] for row in rows)
    _, err = realfake(tmp_path, "curves", "--study", "tyni", "--uri", f"sqlite:///{tmp_path}/mlflow.db", expect=2)
    assert "did you mean 'tiny'" in err


@pytest.mark.timeout(900)
def test_a_deleted_shard_alone_is_made_again_to_the_same_digest(made):
    from realfake.samples import shard_digest

    folder, _, _ = made
    shard = sorted((folder / "store").glob("pool-*/*.parquet"))[1]
    digest, others = shard_digest(shard), {p: p.stat().st_mtime_ns for p in (folder / "store").glob("*/*.parquet")}
    shard.unlink()
    realfake(folder, "run", "tiny.py")
    assert shard_digest(shard) == digest
    changed = {p for p, stamp in others.items() if p.stat().st_mtime_ns != stamp}
    assert changed == {shard}


@pytest.mark.timeout(900)
def test_a_volume_more_makes_only_the_new(made):
    folder, _, _ = made
    before = {p: p.stat().st_mtime_ns for p in (folder / "store").glob("*-*/*.*") if p.name != "verified.json"}
    study_file(folder, volumes=(40, 300, 600))
    realfake(folder, "run", "tiny.py")
    after = {p: p.stat().st_mtime_ns for p in (folder / "store").glob("*-*/*.*") if p.name != "verified.json"}
    assert all(after[path] == stamp for path, stamp in before.items())
    new = {path.parent.name.split("-")[0] for path in after.keys() - before.keys()}
    assert new == {"trial", "pool"}
    assert len(list((folder / "store").glob("pool-*/*.parquet"))) == 7


def test_the_same_study_without_ray_makes_the_same_files(made, tmp_path):
    folder, _, _ = made
    (tmp_path / "here.toml").write_text('[cluster]\naddress = "none"\n')
    study_file(tmp_path, volumes=(40, 300, 600), more=OPEN_SET)
    realfake(tmp_path, "run", "tiny.py", "--on", "here.toml")
    assert files(tmp_path / "store")[0] == files(folder / "store")[0]
    assert shards(tmp_path / "store") == shards(folder / "store")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nowhere.py"), "there is no study file nowhere.py"),
        (("run", "tiny.py", "--on", "bad.toml"), "did you mean 'lanes'"),
        (("run", "tiny.py", "--store", "tiny.py"), "choose another folder with --store"),
        (("show", "trial-zzz"), "nothing with an address that begins with 'trial-zzz'"),
        (("run", "tiny.py", "--on", "greedy.toml"), "the run would wait for ever"),
        (("run", "toolarge.py"), "has 1297 images"),
        (("run", "toofew.py"), "has 10 classes, so some would have no image"),
    ],
)
def test_bad_input_gets_one_sentence_and_no_traceback(tmp_path, arguments, message):
    path = study_file(tmp_path)
    (tmp_path / "bad.toml").write_text("[training]\nlane = 2")
    (tmp_path / "greedy.toml").write_text("[training]\nlanes = 64\ncpus_per_lane = 64.0")
    (tmp_path / "toolarge.py").write_text(path.read_text().replace("320", "100_000"))
    (tmp_path / "toofew.py").write_text(path.read_text().replace("(20, ", "(5, "))
    _, err = realfake(tmp_path, *arguments, expect=2)
    assert message in err
    assert "Traceback" not in err


def test_an_unreachable_tracking_server_costs_no_result(made, tmp_path):
    folder, _, _ = made
    (tmp_path / "away.toml").write_text(f'store = "{folder / "store"}"\ntracking = "http://127.0.0.1:9"\n')
    out, err = realfake(folder, "run", "tiny.py", "--on", str(tmp_path / "away.toml"))
    assert "cross-entropy" in out
    assert "records are safe" in err


def test_examples_of_help_are_valid_commands():
    from realfake import cli

    for name, command in cli.main.commands.items():
        example = (command.epilog or "").removeprefix("Example: ").split()
        assert example[:2] == ["realfake", name]
        command.make_context(name, list(example[2:]), resilient_parsing=True)
        known = {option for p in command.params for option in p.opts}
        assert {a for a in example[2:] if a.startswith("--")} <= known


def test_environment_variables_of_ray_are_set_before_it_is_imported():
    from realfake.resources import Where
    from realfake.session import prepare_environment

    prepare_environment(Where())
    assert os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    assert Path(sys.executable).exists()
