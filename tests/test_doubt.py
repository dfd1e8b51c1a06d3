"""Between a law that fits and one that does not: both it and the real-only ladder answer, and nothing jumps."""

from dataclasses import replace

import pytest

from realfake.answers import Curve, Question, answers
from realfake.hypotheses import Claim
from realfake.intervals import Interval, spanning
from realfake.statistics import analysis, readings
from realfake.statistics.claims import judge
from realfake.statistics.contrasts import who_answers
from realfake.statistics.equivalence import Fit, LackOfFit
from realfake.statistics.inversion import invert, real_curve
from realfake.statistics.readings import Reading, worth
from realfake.statistics.sentences import in_doubt, sentence
from realfake.tables import arms, mark, notes
from realfake.tracking import Analysed
from realfake.tracking.runs import FITS, SETTINGS
from realfake.tracking.texts import packed, split
from tests.simulated import SMALL, TRUTHS, evidence_of, fit, table

AT = (2500, 10_000, 2500)


@pytest.fixture(scope="module")
def rows():
    return table(TRUTHS["scaled"], law="scaled", noise=0.02, **SMALL)


@pytest.fixture(scope="module")
def fitted(rows):
    """A fit with one alternative."""
    both = [fit(rows, law=law, bootstrap=200) for law in ("scaled", "hyperbolic")]
    return replace(both[0], alternatives=(both[1],))


def at_p(fitted, *p_values):
    """The set with these p-values of its lack-of-fit tests."""
    tests = [None if p is None else LackOfFit(2.0, (5, 20), p) for p in p_values]
    laws = zip((fitted, *fitted.alternatives), tests, strict=True)
    first, *others = [replace(one, lack_of_fit=test, alternatives=()) for one, test in laws]
    return replace(first, alternatives=tuple(others))


@pytest.mark.parametrize(
    ("p_values", "answering", "named"),
    [
        ((0.5, 0.06), ("law",), ("scaled", "hyperbolic")),
        ((0.06, 0.2), ("law",), ("scaled", "hyperbolic")),
        ((None, 0.002), ("law",), ("scaled",)),
        ((0.19, 0.06), ("law", "inversion"), ("scaled", "hyperbolic", "inversion")),
        ((0.05, 0.05), ("law", "inversion"), ("scaled", "hyperbolic", "inversion")),
        ((0.049, 0.03), ("inversion", "law"), ("inversion", "scaled", "hyperbolic")),
        ((0.005, 0.03), ("inversion", "law"), ("inversion", "hyperbolic")),
        ((0.01, 0.005), ("inversion",), ("inversion",)),
    ],
)
def test_who_answers_follows_from_the_test(fitted, p_values, answering, named):
    found = at_p(fitted, *p_values)
    assert found.answered_by == answering
    assert who_answers(found) == named


def test_the_farthest_of_all_simulated_studies_is_no_doubt_however_few_they_were(fitted):
    few = replace(at_p(fitted, 1 / 21, 1 / 21), draws=fitted.draws[:20])
    few = replace(few, alternatives=tuple(replace(one, draws=one.draws[:20]) for one in few.alternatives))
    assert few.answered_by == ("inversion",)
    assert at_p(fitted, 1 / 21, 1 / 21).answered_by == ("inversion", "law")


def reading_at(rows, fitted, *p_values):
    evidence = evidence_of(rows)
    return Reading(evidence, at_p(fitted, *p_values), inverted=invert(evidence, real_curve(evidence)))


@pytest.mark.parametrize("p", [0.3, 0.2, 0.1, 0.05, 0.04, 0.011, 0.01])
def test_an_answer_in_doubt_spans_law_and_ladder_and_is_never_narrower_than_a_hard_switch(rows, fitted, p):
    reading = reading_at(rows, fitted, p, p)
    law, inversion = fitted.equivalent(*AT), reading.inversion(*AT)
    found, by = reading.equivalent(*AT)
    hard = law if p >= 0.05 else inversion
    assert (found.point, found.low <= hard.low, found.high >= hard.high) == (hard.point, True, True)
    if len(by) == 2:
        assert (found.low, found.high) == (min(law.low, inversion.low), max(law.high, inversion.high))
        assert spanning([law, inversion]).low == found.low
    else:
        assert found == hard


def test_slopes_are_the_law_s_alone_as_before(rows, fitted):
    for p, given in ((0.1, True), (0.03, False)):
        cell = worth({"cross_entropy": reading_at(rows, fitted, p, p)}, *AT)
        value = Interval.from_json(cell["value"])
        assert (value.censored != "withheld") == given
        assert given or "the law does not fit (p = 0.03)" in value.reason
        assert bool(cell["signs"]) == given


@pytest.fixture
def doubtful(rows, monkeypatch):
    """The document of a table, whose laws' tests are all said to have p = 0.1."""
    choose = readings.choose

    def doubted(evidence, **given):
        found = choose(evidence, **given)
        test = LackOfFit(2.0, (5, 20), 0.1)
        changed = [replace(c, fit=replace(c.fit, lack_of_fit=test)) if c.fit else c for c in found.contenders]
        return replace(found, contenders=tuple(changed))

    monkeypatch.setattr(readings, "choose", doubted)
    return analysis.analyse(rows, bootstrap=60, claims=(CLAIM,))


CLAIM = Claim(name="dear", quantity="average price", at=((2500, 10_000),), above=1.0, smallest_effect=0.1)


def test_everything_that_is_printed_says_so(doubtful):
    cell = next(c for c in doubtful["cells"] if (c["n_real"], c["n_synthetic"]) == AT[:2])
    (arm,) = arms(doubtful)
    assert (cell["equivalent_by"], mark(cell, "cross_entropy")) == ("law and inversion", "†")
    assert any(note.startswith("† by the law and by inversion") for note in notes(arm, "cross_entropy"))
    assert any("whether the law fits is in doubt (p = 0.1)" in text for text in doubtful["warnings"])
    assert ", beside inversion, in cross-entropy" in sentence(cell, Fit.from_json(doubtful["fits"][0]), {})
    assert doubtful["claims"][0]["basis"].endswith(" and inversion")


def test_a_query_at_a_measured_cell_has_the_answer_of_the_table(doubtful):
    tags = {**packed(FITS, {"fits": doubtful["fits"]}), **split(SETTINGS, doubtful["settings"])}
    curve = Curve(Analysed("s", "d", tuple(doubtful["cells"]), tags), "", "closed-set")
    cell = next(c for c in doubtful["cells"] if (c["n_real"], c["n_synthetic"]) == AT[:2])
    worth_ = Interval.from_json(cell["equivalent"]["cross_entropy"])
    (found,), (between,) = (answers(curve, at, Question()) for at in (AT[:2], (2500, 12_345)))
    assert (found.interval.point, found.interval.low, found.interval.high) == (worth_.point, worth_.low, worth_.high)
    assert found.by == "law and inversion"
    assert "in doubt (p = 0.1)" in found.interval.reason
    assert between.by == "law"
    assert "in measured cells alone" in between.interval.reason
    (size,) = answers(curve, AT[:2], Question(metric="effective"))
    assert (size.interval.point, size.interval.low) == (worth_.point + 2500, worth_.low + 2500)


def test_a_claim_in_doubt_spans_the_ladder_too(rows):
    key = ("", "closed-set", "cross_entropy")
    (law,), (both,), (turned,) = (
        judge([CLAIM], rows, bootstrap=60, laws={key: names})
        for names in (("scaled",), ("scaled", "inversion"), ("inversion", "scaled"))
    )
    ends = [Interval.from_json(one["estimate"]) for one in (law, both, turned)]
    assert ends[1].point == ends[0].point != ends[2].point
    assert ends[1].low <= ends[0].low
    assert ends[1].high >= ends[0].high
    assert (both["basis"], turned["basis"]) == ("law scaled and inversion",) * 2


def test_the_words_of_doubt(fitted):
    assert "points are those of the law" in in_doubt(at_p(fitted, 0.1, 0.06))
    assert "(p = 0.03); equivalents span law and real-only ladder" in in_doubt(at_p(fitted, 0.03, 0.02))
    assert "points are those of the ladder" in in_doubt(at_p(fitted, 0.03, 0.02))
