"""Every study can be read and says what it costs; the small open-set ones share one base; the large one finds its data.

What comes out of a study is no test's business: see studies/LOG.md.
"""

import functools
import re
from pathlib import Path

import pytest
from PIL import Image

from realfake import execution, folders, studyfile
from realfake.datasets import DatasetError
from realfake.needs import needs
from realfake.resources import Cluster, Where
from realfake.spec import Pretrained, Study, address, order
from realfake.statistics import claims, effects
from realfake.store import Store

STUDIES = Path(__file__).parents[1] / "studies"
SMALL = ("openset_tiny", "bridged_transfer", "datadream", "clip_filter", "prompt_sweep")
OPEN_SET = (*SMALL, "openset_absent", "openset_privacy", "realfake_reproduction")


@functools.cache
def read(name: str) -> studyfile.StudyFile:
    return studyfile.read(STUDIES / f"{name}.py")


@pytest.mark.parametrize("name", sorted(path.stem for path in STUDIES.glob("*.py")))
def test_every_study_claims_what_its_trials_can_tell(name):
    claims.refuse_unknown_arms(read(name).study)
    effects.refuse_unknown_cells(read(name).study)


@pytest.mark.parametrize("name", OPEN_SET)
def test_an_open_set_study_costs_what_it_says(name, tmp_path):
    study, said = read(name).study, " ".join(read(name).docstring.split())
    lacking = needs((*study.trials, *study.evaluations, *study.audits), Store(tmp_path))
    tried = {"evaluations": study.evaluations, "audits": study.audits}
    kinds = [type(fit).__name__ for fit in lacking.fits.values()]
    fitted = {"pretraining": "Pretrained", "adapters": "Lora", "closed-set generators": "ClosedSet"}
    counts = {word: kinds.count(kind) for word, kind in fitted.items()}
    counts |= {"images": lacking.images, "trials": len(lacking.trials), **{k: len(v) for k, v in tried.items()}}
    for what, count in counts.items():
        told = re.findall(rf"([\d,]+) {what}\b", said.split("Declared")[0].rsplit(". ", 2)[-2] + ".")
        assert [int(number.replace(",", "")) for number in told] == ([count] if count else []), (what, count)


def test_the_small_studies_pretrain_one_pipeline_once():
    bases = {address(spec) for name in SMALL for spec in order([read(name).study]) if isinstance(spec, Pretrained)}
    assert len(bases) == 1


# -------------------------------------------------------------------------------------------------- the reproduction


def photos(root: Path, names: list[str], count: int) -> Path:
    """Write noise of 8 pixels, other noise for every image, into a folder for each name."""
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((8, 8), 60).convert("RGB").save(root / name / f"{i}.png")
    return root


@pytest.fixture
def laid(tmp_path):
    """Ten classes in the layouts of ImageNet, V2 and Sketch; the study of 160 images, with their fingerprints."""
    text = (STUDIES / "realfake_reproduction.py").read_text().replace("12_894", "160")
    ids = sorted(set(re.findall(r'"(n\d{8})"', text)))
    photos(tmp_path / "imagefolder" / "train", ids, 16)
    photos(tmp_path / "imagefolder" / "val", ids, 1)
    photos(tmp_path / "imagenet-v2-matched-frequency", ["0", "217", "491"], 1)
    photos(tmp_path / "imagenet-sketch", ids[:3], 1)
    found = {name: tmp_path / name for name in re.findall(r'"([a-z0-9-]+)": ""', text)}
    for name, place in found.items():
        text = text.replace(f'"{name}": ""', f'"{name}": "{folders.fingerprint(place, name)}"')
    (tmp_path / "study.py").write_text(text.replace("pixels=224", "pixels=8"))
    return studyfile.read(tmp_path / "study.py").study, tuple(f"{name}={place}" for name, place in found.items())


def dry_run(study: Study, store: Path, data: tuple[str, ...] = ()):
    return execution.dry_run(study, Where(store=str(store), cluster=Cluster(address="none"), data=data))


def test_the_reproduction_without_photos_says_where_they_go(tmp_path):
    with pytest.raises(DatasetError, match=r'write imagefolder = "DIR" under \[data\] in the --on file'):
        dry_run(read("realfake_reproduction").study, tmp_path)


def test_the_reproduction_says_what_to_write_for_photos_that_it_finds(tmp_path):
    place = photos(tmp_path / "photos", ["a", "b"], 2)
    with pytest.raises(DatasetError, match=f"write fingerprint='{folders.fingerprint(place)}'"):
        dry_run(read("realfake_reproduction").study, tmp_path / "store", (f"imagefolder={place}",))


def test_the_reproduction_counts_on_photos_in_their_released_layouts(laid, tmp_path):
    study, data = laid
    claims.refuse_unknown_arms(study)
    lacking = dry_run(study, tmp_path / "store", data)
    kinds = [type(fit).__name__ for fit in lacking.fits.values()]
    assert (kinds.count("Lora"), kinds.count("Captions"), len(lacking.trials)) == (18, 2, 222)
