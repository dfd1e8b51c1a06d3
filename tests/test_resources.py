"""Where-files: unknown keys, shares that fit, and the shipped files."""

from pathlib import Path

import pytest

from realfake.resources import ResourceError, Where, read, shares

CLUSTER = Path(__file__).parents[1] / "cluster"


def where_file(tmp_path, text):
    path = tmp_path / "where.toml"
    path.write_text(text)
    return path


def test_no_file_is_one_machine():
    assert read(None) == Where()
    assert Where(store="s").tracking_uri() == f"sqlite:///{Path('s').absolute()}/mlflow.db"


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.toml")), ids=lambda path: path.name)
def test_the_shipped_files_are_read(path):
    assert isinstance(read(path), Where)


def test_the_laptop_file_says_what_the_defaults_are():
    assert read(CLUSTER / "laptop.toml") == Where()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nlane = 2", r"Training has no field 'lane'; did you mean 'lanes'\?"),
        ("stor = 's'", r"unknown key 'stor'; did you mean 'store'\?"),
        ("[training]\nlanes = 'two'", r"Training.lanes is 'two', a str; it must be int"),
        ("[training", "where.toml"),
        ("[synthesis]\nactors = 0", "must be at least 1"),
    ],
)
def test_a_bad_file_gets_one_sentence(tmp_path, text, message):
    with pytest.raises(ResourceError, match=message):
        read(where_file(tmp_path, text))


def test_a_secret_is_refused_and_not_repeated(tmp_path):
    path = tmp_path / "shared.toml"
    path.write_text('store = "s"\ntracking = "https://me:hunter22@mlflow.example.org"\n')
    with pytest.raises(
        ResourceError, match=r"shared\.toml:2 holds a password in a URL.*MLFLOW_TRACKING_PASSWORD"
    ) as said:
        read(path)
    assert "hunter22" not in str(said.value)


def test_a_missing_file_names_the_shipped_ones():
    with pytest.raises(ResourceError, match=r"give one of cluster/\*\.toml"):
        read("nowhere.toml")


def test_data_paths(tmp_path):
    where = read(where_file(tmp_path, "[data]\nfashion = '~/fashion'"))
    assert where.data_paths() == {"fashion": Path.home() / "fashion"}


@pytest.mark.parametrize(("cpus", "gpus"), [(1, 0), (2, 0), (8, 0), (16, 1), (64, 8)])
def test_default_shares_fit_any_machine(cpus, gpus):
    found = shares(Where(), cpus, gpus)
    assert found.lanes == (gpus or cpus)
    used = found.lanes * found.cpus_per_lane + found.actors * found.cpus_per_actor + found.cpus_for_feeder
    assert 0.8 * min(cpus, found.lanes) <= used <= cpus + 1e-9
    assert found.lanes * found.gpus_per_lane + found.actors * found.gpus_per_actor <= gpus + 1e-9


def test_what_does_not_fit_is_refused_before_anything_starts(tmp_path):
    where = read(where_file(tmp_path, "[training]\nlanes = 4\ncpus_per_lane = 1.0"))
    with pytest.raises(ResourceError, match=r"4 lanes of 1, .* and there are 2: the run would wait for ever"):
        shares(where, cpus=2, gpus=0)
    with pytest.raises(ResourceError, match="GPUs at once, and there are 0"):
        shares(read(where_file(tmp_path, "[training]\ngpus_per_lane = 0.5")), cpus=2, gpus=0)
