"""Fixtures for all tests: a quiet Ray, one thread a process, and a store with the digits in it."""

import os

os.environ.update(
    RAY_AUTH_MODE="disabled",
    RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
    OMP_NUM_THREADS="1",
    COLUMNS="120",  # what is printed is the same whatever runs the tests
    MLFLOW_DISABLE_TELEMETRY="true",
    HF_HUB_OFFLINE="1",
)

import pytest

from realfake.spec import Dataset
from realfake.store import Store

DIGITS = Dataset(name="digits")
DIGITS_TEST = Dataset(name="digits", split="test")


@pytest.fixture(scope="session")
def digits_store(tmp_path_factory):
    """Return a store that holds scikit-learn's digits, both splits. Shared: add to it, remove nothing."""
    from realfake.datasets import import_dataset

    store = Store(tmp_path_factory.mktemp("digits"))
    for dataset in (DIGITS, DIGITS_TEST):
        import_dataset(dataset, store)
    return store


def pytest_xdist_auto_num_workers(config):
    """Return how many processes share the tests, file by file: several for the whole suite, else this one alone.

    Faults, clusters and benchmarks want the machine to themselves, and a file or two are quicker without a start.
    """
    whole = config.args_source is config.ArgsSource.TESTPATHS and "not faults" in config.option.markexpr
    return min(4, os.cpu_count() or 1) if whole else 0
