"""The document of a study: its parts, its sentences, its digest, and warnings where data are too few."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from realfake.intervals import Interval
from realfake.laws import PEAKED, real_error
from realfake.statistics.analysis import analyse, digest, to_text
from realfake.statistics.fits import FitError
from realfake.statistics.sentences import sentence
from realfake.statistics.trial_table import read_csv
from tests.simulated import PEAKED_TRUTH, SMALL, WANG_TRUTH, mixtures_of, rng, several_arms, small, table

CONTEXT = {
    "data": "digits at 8 px",
    "model": "test_resnet",
    "init": "from scratch",
    "budget": "20,000 examples seen",
    "generators": {"closed-set": "a small diffusion model"},
}
FLOOR, AMPLITUDE, EXPONENT = PEAKED_TRUTH[:3]


def analysed(rows, **more):
    return analyse(rows, bootstrap=60, **more)


def cell_of(document, arm, n, m):
    found = [c for c in document["cells"] if (c["arm"], c["n_real"], c["n_synthetic"]) == (arm, n, m)]
    assert len(found) == 1
    return found[0]


def interval(values):
    return Interval.from_json(values)


@pytest.fixture(scope="module")
def both():
    """The table of three arms in two responses."""
    return several_arms(responses=("cross_entropy", "error"))


@pytest.fixture(scope="module")
def document(both):
    return analysed(both, context=CONTEXT)


def test_the_parts_of_the_document(document):
    assert set(document) == {
        *("schema", "digest", "settings", "cells", "ladder", "fits", "other_fits", "unfitted", "comparisons", "wang"),
        *("claims", "controls", "sentences", "sentence_recipes", "warnings"),
    }
    assert document["schema"] == 1
    expected = {"bootstrap": 60, "seed": 0, "responses": ["cross_entropy", "error"], "test_images": False}
    assert document["settings"] == expected


def test_the_document_is_strict_json_of_plain_values(document):
    text = to_text(document)
    assert json.loads(text) == json.loads(json.dumps(document, allow_nan=False))
    assert "NaN" not in text
    assert "Infinity" not in text


def test_every_cell_and_ladder_size_has_an_entry(document):
    places = {(c["arm"], c["n_real"], c["n_synthetic"], c["n_generator"]) for c in document["cells"]}
    mixed = {(n, ratio * n) for n in SMALL["bases"] for ratio in SMALL["ratios"]}
    strict = {("closed-set", n, m, n) for n, m in mixed}
    leaky = {("leaky", n, m, 50_000) for n, m in mixed}
    alone = {("alone", 0, m, n) for n, m in mixed}
    assert places == strict | leaky | alone
    assert [entry["n_real"] for entry in document["ladder"]] == list(SMALL["ladder"])
    assert all(cell["replicates"] == 3 and cell["diverged"] == 0 for cell in document["cells"])


def test_the_keys_of_a_cell(document):
    keys = {
        *("arm", "recipe", "n_real", "n_synthetic", "n_generator", "replicates", "diverged", "cross_entropy", "error"),
        *("equivalent", "equivalent_by", "equivalent_by_response", "signs", "inversion", "value", "average_value"),
        *("resolution", "other_budgets"),
    }
    assert all(set(cell) == keys for cell in document["cells"])
    ladder_keys = {"recipe", "n_real", "replicates", "diverged", "cross_entropy", "error"}
    assert all(set(entry) == ladder_keys for entry in document["ladder"])


def test_the_mean_of_a_cell_is_that_of_its_trials_and_inside_its_interval(both, document):
    for cell in document["cells"]:
        same = both["arm"].eq(cell["arm"]) & both["n_generator"].eq(cell["n_generator"])
        rows = both[same & both["n_real"].eq(cell["n_real"]) & both["n_synthetic"].eq(cell["n_synthetic"])]
        mean = interval(cell["cross_entropy"])
        assert mean.point == pytest.approx(rows["cross_entropy"].mean())
        assert mean.low < mean.point < mean.high
        assert np.log(mean.high / mean.point) == pytest.approx(np.log(mean.point / mean.low), rel=0.2)


def test_the_equivalent_of_a_cell_is_the_law_s_where_the_law_holds():
    found = analysed(table(noise=0.01))
    cell = cell_of(found, "closed-set", 5000, 20_000)
    truth = float(PEAKED.equivalent(PEAKED_TRUTH, 5000.0, 20_000.0, 5000.0))
    slope = float(PEAKED.value(PEAKED_TRUTH, 5000.0, 20_000.0, 5000.0))
    assert cell["equivalent_by"] == "law"
    for values in (cell["equivalent"]["cross_entropy"], cell["inversion"]["cross_entropy"]):
        assert interval(values).low < truth < interval(values).high
        assert interval(values).point == pytest.approx(truth, rel=0.15)
    assert interval(cell["value"]).low < slope < interval(cell["value"]).high
    assert interval(cell["average_value"]) == interval(cell["equivalent"]["cross_entropy"]).scaled(1 / 20_000)
    assert 0 < interval(cell["resolution"]).point < truth


def test_where_the_law_fails_cells_are_read_off_the_ladder():
    def wave(n, m, generator):
        return real_error(PEAKED_TRUTH, n) * (1 - 0.3 * np.sin(np.log1p(m)) * (m > 0))

    found = analysed(table(response=wave, **SMALL))
    assert found["fits"][0]["lack_of_fit"]["p"] < 0.05
    for cell in found["cells"]:
        assert cell["equivalent_by"] == "inversion"
        assert cell["equivalent"] == cell["inversion"]
        assert "the law does not fit" in interval(cell["value"]).reason
    assert any("the law does not fit" in text and "read off the ladder" in text for text in found["warnings"])


def test_wangs_c2_is_given_for_every_arm(document):
    assert {(entry["arm"], entry["response"]) for entry in document["wang"]} == {
        (arm, response) for arm in ("alone", "closed-set", "leaky") for response in ("cross_entropy", "error")
    }
    found = analysed(table(WANG_TRUTH, law="wang", noise=0.005))["wang"][0]
    c2 = interval(found["c2"])
    assert c2.low < np.exp(WANG_TRUTH[-1]) < c2.high
    assert c2.point == pytest.approx(np.exp(WANG_TRUTH[-1]), rel=0.2)


def test_wangs_law_says_why_it_has_no_answer(document):
    alone = next(entry for entry in document["wang"] if entry["arm"] == "alone")
    assert interval(alone["c2"]).censored == "withheld"
    assert "0 mixed cells" in alone["reason"]


# Sentences.


def worth_of(equivalent):
    """A response that m > 0 synthetic images bring to that of n + equivalent real ones."""
    return lambda n, m, generator: FLOOR + AMPLITUDE * (n + equivalent(n, m) * (m > 0)) ** -EXPONENT


def sentence_of(equivalent, **more):
    """The sentence for 20,000 images beside 5,000."""
    rows = table(response=worth_of(equivalent), noise=0.02, seeds=4, **{**SMALL, **more})
    found = [text for text in analysed(rows, context=CONTEXT)["sentences"] if "beside 5,000 real ones" in text]
    assert len(found) == 1
    return found[0]


def test_a_positive_worth_in_words():
    text = sentence_of(lambda n, m: 0.4 * m / (1 + m / (2 * n)))
    assert text.startswith(
        "On digits at 8 px with test_resnet, from scratch, 20,000 examples seen, 80,000 images from a small diffusion "
        "model, fitted on 5,000, beside 5,000 real ones were worth "
    )
    assert re.search(r"more real images \(4 replicates, law '\w+'.* in cross-entropy, measured to 50,000 real", text)
    assert "distinguishable" not in text


def test_no_worth_in_words():
    assert "were not distinguishable from 0: worth " in sentence_of(lambda n, m: 0 * m, rng=rng(1))
    said = sentence_of(lambda n, m: 0 * m, rng=rng(3))  # some laws take the noise of this table for a gain
    assert re.search(r"have no verdict, for the laws disagree: \d say more, \d not distinguishable: worth \d+ \[", said)


def test_harm_in_words():
    assert "were worse than none: worth -" in sentence_of(lambda n, m: -0.5 * n)


def test_a_worth_beyond_the_ladder_in_words():
    text = sentence_of(lambda n, m: m, ladder=(1000, 2500, 5000, 10_000, 20_000))
    assert "were worth > 15,000 more real images, beyond the ladder (" in text


def test_one_sentence_for_each_arm_and_real_size_at_the_largest_volume(document):
    texts = document["sentences"]
    assert len(texts) == 3 + 3 + 1
    assert sum("16,000 images" in text and "beside 1,000 real ones" in text for text in texts) == 2
    alone = [text for text in texts if " alone " in text]
    assert len(alone) == 1
    assert "80,000 images from the generator 'alone', fitted on 5,000, alone" in alone[0]
    assert "more real images" not in alone[0]


def test_one_seed_and_no_context_in_words():
    text = analysed(table(seeds=1, noise=0.01))["sentences"][0]
    assert text.startswith("On this data set, 16,000 images from the generator 'closed-set', fitted on 1,000, beside")
    assert re.search(r"\(one seed, law '\w+'.* in cross-entropy", text)


def test_a_withheld_worth_in_words(document):
    cell = {
        **document["cells"][0],
        "equivalent": {"error": Interval(np.nan, 0, 0, "withheld", "nobody knows").to_json()},
    }
    assert "have no measured worth: nobody knows (" in sentence(cell, None, {})


def test_controls_say_what_they_show():
    rows = table(**SMALL)
    repeat = rows[mixtures_of(rows)].assign(arm="repeat", address=lambda t: t["address"] + "-repeat")
    notes = analysed(pd.concat([rows, repeat]))["controls"]
    assert len(notes) == 3
    assert notes[0].startswith("control 'repeat', 16,000 beside 1,000: worth ")
    assert notes[0].endswith("it repeats real images, so a generator is worth something only beyond it")


# The same table, the same document.


def test_the_order_of_rows_does_not_matter(both, document):
    assert to_text(analysed(both.sample(frac=1, random_state=1), context=CONTEXT)) == to_text(document)


def test_the_digest_changes_with_the_table_the_settings_and_the_test_images():
    rows = small()
    changed = rows.copy()
    changed.loc[0, "cross_entropy"] *= 1 + 1e-9
    images = {"trial": {"error": np.zeros(3)}}
    others = [digest(changed), digest(rows, seed=1), digest(rows, bootstrap=200), digest(rows, per_image=images)]
    others.append(digest(rows, per_image={"trial": {"error": np.ones(3)}}))
    assert len({digest(rows), *others}) == 6
    assert digest(rows.sample(frac=1, random_state=1)) == digest(rows)
    assert analysed(rows)["digest"] == digest(rows, bootstrap=60)


def test_a_seed_changes_intervals_and_no_point():
    first, second = (cell_of(analysed(small(), seed=seed), "closed-set", 1000, 4000) for seed in (0, 1))
    points = [interval(cell["equivalent"]["cross_entropy"]) for cell in (first, second)]
    assert points[0].point == points[1].point
    assert points[0] != points[1]


# Too little data is said, and everything else is kept.


def test_an_arm_with_too_few_cells_keeps_its_inversion_and_is_warned_of():
    rows = small()
    few = rows[mixtures_of(rows) & (rows["n_synthetic"] == 1000)].assign(
        arm="few", address=lambda t: t["address"] + "f"
    )
    found = analysed(pd.concat([rows, few]))
    cell = cell_of(found, "few", 1000, 1000)
    assert cell["equivalent_by"] == "inversion"
    assert interval(cell["equivalent"]["cross_entropy"]).censored == ""
    assert any("the arm 'few' has 1 mixed cell, too few" in text for text in found["warnings"])
    assert {fit["arm"] for fit in found["fits"]} == {"closed-set"}
    assert cell_of(found, "closed-set", 1000, 1000)["equivalent_by"] == "law"


def test_without_a_ladder_nothing_is_worth_anything_known():
    rows = small()
    found = analysed(rows[mixtures_of(rows)])
    worth = interval(cell_of(found, "closed-set", 1000, 4000)["equivalent"]["cross_entropy"])
    assert worth.censored == "withheld"
    assert "the table has no real-only trials" in worth.reason
    mean = interval(cell_of(found, "closed-set", 1000, 4000)["cross_entropy"])
    assert (mean.low, mean.high, mean.reason) == (-np.inf, np.inf, "nothing says how much trials differ")
    assert found["fits"] == []


def test_a_ladder_alone_has_a_document_too():
    rows = small()
    found = analysed(rows[~mixtures_of(rows)])
    assert (found["cells"], found["fits"], found["sentences"], found["wang"]) == ([], [], [], [])
    entry = interval(found["ladder"][0]["cross_entropy"])
    assert entry.low < entry.point < entry.high


def test_a_cell_whose_trials_all_diverged_is_withheld():
    rows = small().assign(status="ok")
    gone = (rows["n_real"] == 1000) & (rows["n_synthetic"] == 4000)
    rows.loc[gone, "status"], rows.loc[gone, "cross_entropy"] = "diverged", np.nan
    found = analysed(rows)
    cell = cell_of(found, "closed-set", 1000, 4000)
    assert (cell["replicates"], cell["diverged"]) == (0, 2)
    for values in (cell["cross_entropy"], cell["equivalent"]["cross_entropy"]):
        assert interval(values).reason == "every trial diverged"
    assert "closed-set, cross_entropy: 2 trials diverged and are not in the fit" in found["warnings"]
    to_text(found)


def test_a_response_that_is_not_a_number_is_warned_of():
    rows = small(responses=("cross_entropy", "error"))
    rows.loc[0, "error"] = np.nan
    found = analysed(rows)
    assert any("error is not a number in 1 rows" in text for text in found["warnings"])
    assert {fit["response"] for fit in found["fits"]} == {"cross_entropy"}
    to_text(found)


def test_incomplete_test_images_are_left_out_and_warned_of():
    rows = small(responses=("error",))
    found = analysed(rows, per_image={rows["address"][0]: {"error": np.ones(10)}})
    assert any("the choice of test images is not in the intervals" in text for text in found["warnings"])
    plain = analysed(rows)
    assert found["cells"] == plain["cells"]
    assert found["digest"] != plain["digest"]


def test_a_study_of_one_seed_a_cell_says_so():
    found = analysed(table(seeds=1, **SMALL))
    assert "closed-set, cross_entropy: no cell was repeated, so nothing tests whether the law fits" in found["warnings"]
    assert interval(found["cells"][0]["cross_entropy"]).reason == "one seed"


def test_a_table_that_makes_no_sense_is_refused():
    with pytest.raises(FitError, match="a number of images cannot be negative"):
        analysed(small().assign(n_synthetic=-1))


def test_draws_that_overlap_by_more_than_half_are_flagged():
    rows = small()
    flagged = analysed(rows, context={"n_available": 60_000})["warnings"]
    assert any("draws of 50,000 of 60,000 images share more than half of them" in text for text in flagged)
    enough = analysed(rows, context={"n_available": 200_000})["warnings"]
    assert not any("share more than half" in text for text in enough)


@pytest.mark.parametrize(("content", "message"), [("", "is not a table"), ("a,b\n1,2\n1,2,3\n", "is not a table")])
def test_a_file_that_is_no_table_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "trials.csv").write_text(content)
    with pytest.raises(FitError, match=message):
        read_csv(str(tmp_path / "trials.csv"))


def test_a_table_without_rows_is_refused():
    with pytest.raises(FitError, match="the table has no rows"):
        analyse(small().iloc[:0])
