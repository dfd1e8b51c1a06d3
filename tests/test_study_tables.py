"""The table beside every study is that of the study, and fitting it again gives the numbers of the study's docstring.

Quickly, all numbers of studies with one arm, and the first of those with several; all of them by ``-m faults``.
"""

import functools
import itertools
import re
from pathlib import Path

import pytest

from realfake import naming, records, results, studyfile, trial_files
from realfake.intervals import Interval
from realfake.planning.adaptive import grown_from
from realfake.responses import RESPONSES
from realfake.spec import address
from realfake.statistics.analysis import analyse
from realfake.statistics.claims import judge
from realfake.statistics.components import variance_components
from realfake.statistics.effects import judge_effects
from realfake.statistics.trial_table import REAL_ONLY, FitError, read_csv

STUDIES = Path(__file__).parents[1] / "studies"
NAMES = sorted(path.stem for path in STUDIES.glob("*.csv"))
AUDITED = "openset_privacy"  # its numbers are of attacks, which take more than a table of trials
NUMBER = r"(?:[<>] )?-?[\d,]*\.?\d+"
FIRST = {"ptl_aerial": ("fpn-tiny on aerial-urban", "PTL colour virtual gap=1.0")}  # where its first number stands


@functools.cache
def read(name):
    """The study file, its table, and the results of single test images."""
    path = STUDIES / f"{name}.csv"
    return studyfile.read(STUDIES / f"{name}.py"), read_csv(str(path)), trial_files.read_images(path)


def groups(name):
    """The recipes and arms of a table, in its order, the one that the first number is about before the others."""
    table = read(name)[1]
    pairs = table[["recipe", "arm"]][table["arm"] != REAL_ONLY].drop_duplicates().itertuples(index=False, name=None)
    return sorted(pairs, key=lambda pair: pair != FIRST.get(name))


def printed(found):
    """Every interval of a document, as it is printed: as it is, and in per cent."""
    if isinstance(found, dict) and {"point", "low", "high", "censored"} <= set(found):
        value = Interval.from_json(found)
        return {str(value), str(value.scaled(100))}
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return set().union(*map(printed, parts))


@functools.cache
def of_arm(name, recipe, arm, responses=("cross_entropy", "ap50_error")):
    """What is printed of the cells and of c2 of one arm by some responses, on the study's table and nothing else."""
    _, table, images = read(name)
    own = table[(table["recipe"] == recipe) & table["arm"].isin([REAL_ONLY, arm])]
    others = [response for response in RESPONSES if response in own and response not in responses]
    found = analyse(own.drop(columns=others), per_image=images)
    return printed([found["cells"], found["wang"]])


@functools.cache
def of_claims(name):
    """What is printed of the claims and effects of a study."""
    file, table, images = read(name)
    effects = judge_effects(file.study.effects, table.to_dict("records"), others=len(file.study.claims))
    return printed([*judge(file.study.claims, table, per_image=images, others=len(effects)), *effects])


def refitted(name):
    """Yield what is printed of a study, part by part: the cheapest first."""
    yield printed(variance_components(read(name)[1]))
    yield from (of_arm(name, *group) for group in groups(name))
    yield of_claims(name)
    yield from (of_arm(name, *group, ("error",)) for group in groups(name) if "error" in read(name)[1])


def numbers(text):
    """The numbers with an interval in what a docstring says came out."""
    said = " ".join(text.partition("Result")[2].split())
    return re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", said)


def missing(name, wanted):
    """The numbers that no part of a refit gives; of a docstring that names the quickstart, nor does the quickstart."""
    left = list(wanted)
    beside = refitted("quickstart") if "quickstart" in read(name)[0].docstring and name != "quickstart" else ()
    for part in itertools.chain(refitted(name), beside):
        left = [number for number in left if number not in part]
        if not left:
            return []
    return left


def test_the_studies_that_were_run_have_their_tables():
    assert {"quickstart", "wang", "adaptive", "openset_tiny", "openset_absent", AUDITED, "ptl_aerial"} <= set(NAMES)
    assert {"fashion_closed_set", "cifar10_closed_set", "variance"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_that_of_the_study_as_it_stands(name):
    """Every row is a trial of the study or an evaluation of one, and none is missing. An adaptive one grows anew."""
    file, table, _ = read(name)
    study = grown_from(file.study, table.to_dict("records")) if file.study.adaptive else file.study
    told = {text.split(":")[0] for text in table["address"]}
    looks = {address(trial): trial for trial in records.counted(study)}
    looks |= {address(evaluation): evaluation.of for evaluation in records.tried_on(study)}
    assert told <= set(looks)
    assert {looks[name] for name in told} == set(records.counted(study))
    alone = {name for name, trial in looks.items() if trial.added is None}  # others have a ladder on some sets only
    assert alone <= told
    assert set(table["arm"]) >= set(naming.arms(records.counted(study)).values()) - {REAL_ONLY}


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_small_and_says_nothing_of_where_it_was_made(name):
    path = STUDIES / f"{name}.csv"
    assert path.stat().st_size < trial_files.LARGEST
    assert not re.search(r"/tmp|/home|/root|/work|\\\\|@", path.read_text())
    beside = trial_files.images_beside(path)
    assert not beside.exists() or beside.stat().st_size < trial_files.LARGEST


@pytest.mark.parametrize("name", [name for name in NAMES if read(name)[2]])
def test_results_of_single_images_are_those_of_the_table(name):
    _, table, images = read(name)
    for row in table.to_dict("records"):
        for response in ("error", "cross_entropy"):
            assert images[row["address"]][response].mean() == pytest.approx(row[response], rel=2e-4, abs=1e-9)
            assert len(images[row["address"]][response]) == row["n_test"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != AUDITED])
def test_a_refit_gives_the_numbers_of_the_docstring(name):
    said = numbers(read(name)[0].docstring)
    assert said
    assert missing(name, said if len(groups(name)) < 2 else said[:1]) == []


@pytest.mark.faults
@pytest.mark.parametrize("name", [name for name in NAMES if len(groups(name)) > 1 and name != AUDITED])
def test_a_refit_gives_every_number_of_the_docstring(name):
    assert missing(name, numbers(read(name)[0].docstring)) == []


def test_a_changed_number_is_noticed():
    assert missing("quickstart", ["363 [233, 497]", "363 [233, 498]", "364 [233, 497]"]) == [
        "363 [233, 498]",
        "364 [233, 497]",
    ]


def test_the_audited_study_says_the_errors_of_its_table():
    file, table, _ = read(AUDITED)
    said = [float(number) for number in re.findall(r"\| (\d+\.\d) \|", file.docstring)]
    assert sorted(said) == pytest.approx(sorted(100 * table.groupby("arm")["error"].mean()), abs=0.0501)


def test_a_table_of_another_study_is_refused():
    file = read("wang")[0]
    with pytest.raises(FitError, match="48 of its 48 trials are none of the study; fit it alone"):
        results.refit(file, STUDIES / "quickstart.csv")
