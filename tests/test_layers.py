"""The layers: imports go downward only, and heavy libraries stay where they belong. Read from the source, not run."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import realfake

PACKAGE = Path(realfake.__file__).parent
LAYERS = [
    {
        "values",
        "hypotheses",
        "effects",
        "responses",
        "measures",
        "graph",
        "checks",
        "outside",
        "recipes",
        "spec",
        "progressive",
        "alignment",
        "kinds",
        "shadows",
        "likeness",
        "credentials",
    },
    {"buckets", "packing"},
    {"mirror"},
    {
        "store",
        "samples",
        "shards",
        "objects",
        "resources",
        "intervals",
        "columns",
        "studyfile",
        "laws",
        "pool_facts",
        "logs",
    },
    {
        *("annotations", "datasets", "sources", "folders", "generators", "tasks", "fidelity", "naming", "records"),
        *("privacy", "scaffold", "statistics", "planning", "aerial", "detections", "representation", "syn2real"),
        *("boxed", "boxed_files", "caption_files", "layouts", "pictures", "trees"),
        *("trial_files", "classes", "corruptions", "imagenet"),
        *("catalogue", "cifar", "holdout", "hugging_face", "imagenet_folders", "medical", "named_sets"),
    },
    {"synthesis", "works", "training"},
    {"sweep"},
    {"session", "needs", "board", "execution", "timelines", "lanes", "rates", "forecast"},
    {
        *("tracking", "answers", "queries", "listing", "results", "pictured", "detector_facts", "purchasing"),
        *("report", "tables", "headline", "flat_rows", "replicated", "pooled"),
    },
    {"progress", "foretold", "cli", "__init__", "__main__", "submission", "jobs", "remote", "arrival", "watching"},
]
HEAVY = {
    "ray": {"synthesis", "training", "sweep", "session", "execution", "jobs", "arrival"},
    "mlflow": {"tracking"},
    "torch": {"generators", "syn2real", "tasks", "synthesis", "training"},
    "accelerate": {"generators", "tasks", "training"},
    "diffusers": {"generators", "syn2real"},
    "timm": {"tasks", "fidelity"},
    "matplotlib": {"report"},
    "emcee": {"statistics"},
    "faster_coco_eval": {"detections"},
}


def modules():
    """Every module file with the name of its top module: generators/closed_set.py belongs to 'generators'."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imported(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module):
    return next(level for level, names in enumerate(LAYERS) if module in names)


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(getattr(value, "name", value)))
def test_imports_go_downward_and_heavy_libraries_stay_home(module, path):
    known = set().union(*LAYERS)
    assert module in known, f"{module} is in no layer"
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "realfake" and rest and rest[0] in known and module != "__init__":
            assert layer(rest[0]) <= layer(module), f"{path.name} imports {name}, which lies above it"
        if top in HEAVY:
            assert module in HEAVY[top], f"{path.name} imports {name}"


def test_reading_a_study_and_asking_for_help_import_nothing_heavy():
    code = "import realfake.cli, realfake.studyfile, realfake, sys; realfake.Study; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "ray", "mlflow", "numpy", "pandas", "timm", "diffusers", "matplotlib"} & set(loaded)


def test_every_public_name_can_be_imported_and_none_is_a_module():
    names = {info.name for info in pkgutil.iter_modules(realfake.__path__)}
    for name in names:
        importlib.import_module(f"realfake.{name}")
    assert not names & set(realfake.__all__)
    assert all(getattr(realfake, name) is not None for name in realfake.__all__)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        realfake.nonsense  # noqa: B018
