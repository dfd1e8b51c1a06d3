"""Claims: what may be declared, the step-down against statsmodels, verdicts on tables whose truth is known."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from realfake import Claim, Dataset, Study, results, studyfile, wang_claims
from realfake.cli import main
from realfake.hypotheses import FEWEST_SYNTHETIC, MEASURED
from realfake.intervals import Interval
from realfake.laws import LAWS
from realfake.report import appendix
from realfake.spec import Pool, Recipe, Repeat, Subset, Trial, address
from realfake.statistics.analysis import analyse, digest
from realfake.statistics.claims import Weakest, draws_needed, holm, judge, refuse_unknown_arms
from realfake.statistics.contrasts import Bounds, contrast, who_answers, within
from realfake.statistics.contrasts import Side as Arm
from realfake.store import Store
from realfake.tables import terminal
from realfake.values import SpecError
from tests.simulated import SMALL, WANG_TRUTH, evidence_of, rng, several_arms, table
from tests.test_purchasing import STUDY as HAND
from tests.test_purchasing import make_trial

HOLDS = {("", "closed-set", name): ("wang",) for name in ("cross_entropy", "error")}
VERDICTS = ("supported", "contradicted", "equivalent to none", "undecided")


def claim(**changes):
    given = {"name": "it is dear", "quantity": "price", "at": ((1000, 4000),), "above": 1.0, "smallest_effect": 0.1}
    return Claim(**{**given, **changes})


@pytest.fixture(scope="module")
def rows():
    return table(WANG_TRUTH, law="wang", noise=0.01, **SMALL)


def truth(quantity, n, m):
    law = LAWS["wang"]
    value = float(law.value(WANG_TRUTH, float(n), float(m), float(n)))
    worth = float(law.equivalent(WANG_TRUTH, float(n), float(m), float(n)))
    ratio = float(law.error(WANG_TRUTH, n, m, n) / law.error(WANG_TRUTH, n, 0.0, n))
    known = {
        "value": value,
        "price": 1 / value,
        "added equivalent": worth,
        "response ratio": ratio,
        "response": float(law.error(WANG_TRUTH, n, m, n)),
    }
    return {**known, "average value": worth / m, "average price": m / worth}[quantity]


# ------------------------------------------------------------------------------------------------------- declarations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, r"Claim\.name is empty"),
        ({"quantity": "prise"}, r"has no quantity 'prise'; did you mean 'price'\?"),
        ({"above": None}, r"one direction; give either above=… or below=…"),
        ({"below": 2.0}, r"one direction"),
        ({"above": float("inf")}, r"the bound above is inf; give a finite number"),
        ({"smallest_effect": 0.0}, r"smallest_effect is 0; give the smallest difference, above 0"),
        ({"at": ()}, r"is about no point"),
        ({"at": ((50, 800, 3),)}, r"\(50, 800, 3\) is no point; write \(n_real, n_synthetic\)"),
        ({"at": (50, 800)}, r"Claim\.at\[0\] is 50, a int"),
        ({"at": ((-1, 5),)}, r"no trial has -1 \+ 5 images"),
        ({"at": ((50, 0),), "quantity": "average price"}, r"the average price does not exist at 50 \+ 0"),
        ({"at": ((0, 50),), "quantity": "response ratio"}, r"the response ratio does not exist at 0 \+ 50"),
        ({"minus": ((50, 1), (50, 2))}, r"at has 1 points and minus 2"),
        ({"minus": ((1000, 4000),)}, r"subtracts a point from itself"),
        ({"at": ((50, 5), (50, 5))}, r"names a point twice"),
        ({"quantity": "error", "response": "cross_entropy"}, r"the error is no cross-entropy"),
        ({"response": "accuracy"}, r"must be '' or 'cross_entropy' or 'error' or 'ap50_error' or 'ap_error'"),
    ],
)
def test_a_claim_that_makes_no_sense_gets_one_clear_sentence(changes, message):
    with pytest.raises(SpecError, match=message):
        claim(**changes)


def trial(**changes):
    real = Subset(of=Dataset(name="digits"), size=50)
    pool = Subset(of=Pool(generator=Repeat(real=real)), size=100)
    test = Dataset(name="digits", split="test")
    return Trial(**{"real": real, "synthetic": (pool,), "test": test, "recipe": Recipe(epochs=1), **changes})


def test_claims_belong_to_the_study_and_change_no_address_of_what_is_made():
    plain, claimed = Study(name="a", trials=(trial(),)), Study(name="a", trials=(trial(),), claims=(claim50(),))
    assert address(Study(name="a", trials=(trial(),), claims=())) == address(plain) != address(claimed)
    assert [address(one) for one in claimed.trials] == [address(one) for one in plain.trials]


def claim50(**changes):
    return claim(**{"at": ((50, 100),), **changes})


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ((claim50(), claim50(below=3.0, above=None)), r"has two claims 'it is dear'; give each its own name"),
        ((claim(),), r"no trial has n_real 1000; the study has 50"),
        ((claim50(quantity="error", at=((50, 200),)),), r"the error at 50 \+ 200 needs trials there"),
        ((claim50(quantity="response ratio"),), r"the response ratio at 50 \+ 100 needs trials there"),
    ],
)
def test_a_study_refuses_claims_that_it_does_not_measure(claims, message):
    with pytest.raises(SpecError, match=message):
        Study(name="a", trials=(trial(),), claims=claims)


def test_unknown_arms_are_refused_before_the_runs():
    refuse_unknown_arms(Study(name="a", trials=(trial(),), claims=(claim50(arm="repeat"), claim50(name="second"))))
    with pytest.raises(SpecError, match=r"the study has no arm 'repaet'; did you mean 'repeat'\?"):
        refuse_unknown_arms(Study(name="a", trials=(trial(),), claims=(claim50(arm="repaet"),)))
    pool = Subset(of=Pool(generator=Repeat(real=trial().real), guidance=2.0), size=100)
    two = Study(name="a", trials=(trial(), trial(synthetic=(pool,))), claims=(claim50(),))
    with pytest.raises(SpecError, match=r"the study has 2 arms; known: repeat guidance=1\.0, repeat guidance=2\.0"):
        refuse_unknown_arms(two)


def test_wang_s_claims_are_three_contrasts_over_all_bases_and_ratios():
    less, grows, shrinks = wang_claims((50, 100, 200), (1, 4), smallest_price=0.5, smallest_value=0.01)
    assert (len(less.at), less.above) == (6, 1.0)
    assert grows.contrasts[:2] == (((100, 100), (50, 50)), ((100, 400), (50, 200)))
    assert shrinks.contrasts == tuple(((n, 4 * n), (n, n)) for n in (50, 100, 200))
    assert (grows.above, shrinks.below) == (0.0, 0.0)
    with pytest.raises(SpecError, match="needs two base sizes and two ratios; it has 1 and 2"):
        wang_claims((50,), (1, 4), smallest_price=0.5, smallest_value=0.01)


# ------------------------------------------------------------------------------------------------ bounds and step-down


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    for seed in range(50):
        p_values = rng(seed).uniform(0, 0.1, 6) ** rng(seed).integers(1, 3)
        p_values[:2] = p_values[0]  # a tie
        rejected, corrected, _, _ = multipletests(p_values, alpha=0.05, method="holm")
        adjusted, alphas = holm(p_values.tolist())
        np.testing.assert_allclose(adjusted, corrected)
        assert [a <= 0.05 for a in adjusted] == rejected.tolist()
        # a claim is decided exactly where its own p is within the α of its interval
        assert [p <= a for p, a in zip(p_values, alphas, strict=True)] == rejected.tolist()


def weakest(estimates, sd, *, rng_, draws=2000, **changes):
    points = [e + sd * np.concatenate([[0.0], rng_.standard_normal(draws)]) for e in estimates]
    at = tuple((1000, 1000 * (i + 1)) for i in range(len(points)))
    return Weakest(claim(at=at, above=0.0, **changes), tuple(Bounds(p, p) for p in points))


def test_p_values_of_normal_draws_are_those_of_normal_theory():
    from scipy.stats import norm

    for estimate in (-0.3, 0.05, 0.4):
        found = weakest([estimate], 0.2, rng_=rng(1), draws=40_000, smallest_effect=0.5).p_values
        z = estimate / 0.2
        assert found["supported"] == pytest.approx(2 * norm.sf(z) if estimate > 0 else 1, abs=0.01)
        assert found["contradicted"] == pytest.approx(2 * norm.cdf(z) if estimate < 0 else 1, abs=0.01)
        ends = 2 * max(norm.sf((estimate + 0.5) / 0.2), norm.cdf((estimate - 0.5) / 0.2))
        assert found["equivalent to none"] == pytest.approx(ends, abs=0.01)


def test_equivalence_is_that_of_statsmodels_two_one_sided_tests():
    from statsmodels.stats.weightstats import DescrStatsW

    sample = rng(3).normal(0.02, 1.0, 4000)  # so many that the t of statsmodels is normal
    expected = DescrStatsW(sample).ttost_mean(-0.06, 0.06)[0]
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    found = weakest([sample.mean()], error, rng_=rng(4), draws=40_000, smallest_effect=0.06)
    assert found.p_values["equivalent to none"] == pytest.approx(2 * expected, abs=0.004)


def test_the_interval_says_what_the_p_values_say():
    generator = rng(0)
    for _ in range(300):
        estimates = generator.normal(0, 0.3, generator.integers(1, 4))
        one = weakest(estimates, 0.15, rng_=generator, draws=400, smallest_effect=0.4)
        for alpha in (0.05, 0.017, 0.3):
            low, high = one.ends(alpha)
            assert (low > 0) == (one.p_values["supported"] <= alpha)
            assert (high < 0) == (one.p_values["contradicted"] <= alpha)
            if len(estimates) == 1:
                assert (low > -0.4 and high < 0.4) == (one.p_values["equivalent to none"] <= alpha)


@pytest.mark.parametrize("points", [1, 3])
def test_false_verdicts_on_a_family_of_claims_are_rarer_than_alpha(points):
    """Four claims whose truth is the bound itself, at every point: a side is taken in no more than 5 % of families."""
    generator, wrong, families = rng(7), 0, 600
    for _ in range(families):
        family = [weakest(generator.normal(0, 1, points), 1.0, rng_=generator, draws=800) for _ in range(4)]
        decided = [min(one.p_values["supported"], one.p_values["contradicted"]) for one in family]
        wrong += min(holm(decided)[0]) <= 0.05
    assert wrong / families < 0.05 + 2 * np.sqrt(0.05 * 0.95 / families)
    assert wrong > 0 or points > 1


def test_a_bound_counts_on_its_side():
    found = within(np.array([5.0, -3.0, 12.0, np.nan]), 0.0, 10.0)
    assert found.lower.tolist() == [5.0, -np.inf, 10.0, -np.inf]
    assert found.upper.tolist() == [5.0, 0.0, np.inf, np.inf]
    price = found.inverted()
    assert price.lower.tolist() == [0.2, np.inf, 0.0, 0.0]
    assert price.upper.tolist() == [0.2, np.inf, 0.1, np.inf]
    difference = price.minus(Bounds(np.full(4, np.inf), np.full(4, np.inf)))
    assert difference.lower.tolist() == [-np.inf] * 4
    assert difference.upper.tolist() == [-np.inf, np.inf, -np.inf, np.inf]  # infinite less infinite may be anything


def test_an_infinite_estimate_is_told_by_what_it_exceeds():
    draws = np.concatenate([[np.inf], np.linspace(2, 3, 50), np.full(50, np.inf)])
    one = Weakest(claim(), (Bounds(draws, draws),))
    interval = one.interval(0.1)
    assert (interval.censored, interval.high) == ("above", np.inf)
    assert 2 < interval.point < 2.2
    assert one.p_values["supported"] == pytest.approx(2 / 101)
    assert one.p_values["contradicted"] == one.p_values["equivalent to none"] == 1
    forever = np.full(60, np.inf)
    assert Weakest(claim(), (Bounds(forever, forever),)).interval(0.1).censored == "withheld"


def test_thin_tails_get_enough_draws():
    few, many = [claim()], [claim(name=f"{i}", at=tuple((1000, m + 1) for m in range(10))) for i in range(5)]
    assert draws_needed(few, 400) == 400
    assert draws_needed(many, 400) == 4 / (0.025 / 50)
    assert draws_needed(many * 20, 400) == 10_000


# ------------------------------------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize("quantity", [name for name in FEWEST_SYNTHETIC if name != "error"])
def test_each_quantity_is_judged_as_its_truth_is(rows, quantity):
    value = truth(quantity, 1000, 4000)
    claims = (
        claim(name="half", quantity=quantity, above=value / 2, smallest_effect=value / 100),
        claim(name="twice", quantity=quantity, above=value * 2, smallest_effect=value / 100),
        claim(name="below twice", quantity=quantity, above=None, below=value * 2, smallest_effect=value / 100),
        claim(name="itself", quantity=quantity, above=value, smallest_effect=value / 2),
        claim(name="sharply", quantity=quantity, above=value, smallest_effect=value / 1000),
    )
    found = judge(claims, rows, bootstrap=200, laws=HOLDS)
    assert [row["verdict"] for row in found] == [VERDICTS[i] for i in (0, 1, 0, 2, 3)]
    estimate = Interval.from_json(found[-1]["estimate"])
    assert estimate.low < value < estimate.high
    assert found[-1]["basis"] == ("cell means" if quantity in MEASURED else "law wang")
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_error_of_a_real_size_needs_no_arm():
    both = several_arms(responses=("cross_entropy", "error"))
    mean = both[(both["n_real"] == 2500) & (both["n_synthetic"] == 0)]["error"].mean().item()
    low = claim(quantity="error", at=((2500, 0),), above=None, below=1.2 * mean, smallest_effect=0.01 * mean)
    (found,) = judge([low], both, bootstrap=100)
    assert found["verdict"] == "supported"
    assert found["estimate"]["point"] == pytest.approx(mean)


def test_everywhere_stands_or_falls_with_the_weakest_point(rows):
    at = tuple((1000, m) for m in (1000, 4000, 16_000))
    prices = [truth("price", *point) for point in at]
    claims = (
        claim(name="all", at=at, above=0.7 * min(prices)),
        claim(name="not all", at=at, above=(min(prices) + max(prices)) / 2),
        claim(name="below all", at=at, above=None, below=1.5 * max(prices)),
        claim(name="one is near", at=at, above=min(prices), smallest_effect=min(prices) / 2),
    )
    found = judge(claims, rows, bootstrap=200, laws=HOLDS)
    assert [row["verdict"] for row in found] == ["supported", "contradicted", "supported", "undecided"]
    assert "the weakest of 3" in found[0]["why"]
    assert found[0]["estimate"]["point"] == pytest.approx(min(prices), rel=0.2)
    assert found[2]["estimate"]["point"] == pytest.approx(max(prices), rel=0.2)
    assert "nor is every point surely within" in found[3]["why"]


def test_a_difference_of_points_shares_its_draws(rows):
    evidence = evidence_of(rows)
    side = Arm(evidence, ("wang",), 200)
    near, far = (contrast("average value", side, side, (1000, m), None, 0) for m in (4000, 16_000))
    difference = contrast("average value", side, side, (1000, 4000), (1000, 16_000), 0)
    np.testing.assert_allclose(difference.lower, near.lower - far.lower)
    assert np.std(difference.lower) < np.hypot(np.std(near.lower), np.std(far.lower))


def test_two_arms_are_independent_whatever_their_seeds():
    both = several_arms()
    first, second = (Arm(evidence_of(both, arm=arm), ("scaled",), 200) for arm in ("closed-set", "leaky"))
    alone = [contrast("average value", side, side, (2500, 10_000), None, 0).lower[1:] for side in (first, second)]
    order = contrast("average value", first, second, (2500, 10_000), (2500, 10_000), 0)
    assert order.lower[0] == pytest.approx(
        contrast("average value", first, first, (2500, 10_000), None, 0).lower[0]
        - contrast("average value", second, second, (2500, 10_000), None, 0).lower[0]
    )
    shuffled = alone[0] - order.lower[1:]
    assert sorted(shuffled) == pytest.approx(sorted(alone[1]))
    assert abs(np.corrcoef(alone[0], shuffled)[0, 1]) < 0.2


def test_one_arm_against_another():
    more = claim(quantity="average value", at=((2500, 10_000),), arm="leaky", minus_arm="closed-set", above=0.0)
    less = claim(name="less", quantity="average value", at=more.at, arm="closed-set", minus_arm="leaky", above=0.0)
    found = judge((more, less), several_arms(), bootstrap=60)
    assert [row["verdict"] for row in found] == ["supported", "contradicted"]
    assert found[0]["points"] == ["average value at 2,500 + 10,000 (leaky) minus 2,500 + 10,000 (closed-set)"]


def test_laws_that_would_give_different_verdicts_leave_a_claim_undecided_and_are_counted(rows):
    """Between what two laws say: each is sure of its own side of the bound."""
    key = ("", "closed-set", "cross_entropy")

    def found(*names, above=None):
        (row,) = judge(
            [claim(quantity="value", at=((5000, 80_000),), above=above, smallest_effect=1e-4)],
            rows,
            bootstrap=200,
            laws={key: names},
        )
        return row

    ends = {law: Interval.from_json(found(law, above=0.1)["estimate"]) for law in ("wang", "additive")}
    low, high = sorted(ends.values(), key=lambda one: one.point)
    assert low.high < high.low
    between = (low.high + high.low) / 2
    alone = {law: found(law, above=between)["verdict"] for law in ends}
    assert sorted(alone.values()) == ["contradicted", "supported"]
    both = found("wang", "additive", above=between)
    assert both["verdict"] == "undecided"
    assert f"the laws disagree: by themselves 1 {alone['wang']}, 1 {alone['additive']}" in both["why"]
    assert "disagree" not in found("wang", above=between)["why"]


def test_where_no_law_holds_cells_are_read_off_the_ladder_and_slopes_are_not(rows):
    claims = (claim(quantity="average price", above=0.5), claim(name="slope"))
    found = judge(claims, rows, bootstrap=100, laws={})
    assert (found[0]["verdict"], found[0]["basis"]) == ("supported", "inversion")
    assert found[0]["estimate"]["point"] == pytest.approx(truth("average price", 1000, 4000), rel=0.2)
    assert found[1]["verdict"] == "undecided"
    assert found[1]["why"] == "no law fits; a slope is not read off single cells"


def test_claims_without_an_answer_are_undecided_and_count_in_the_family(rows):
    claims = (claim(arm="closed-sett"), claim(name="far", at=((1000, 900_000),)), claim(name="out", at=((70, 5),)))
    found = judge((*claims, claim(name="known", above=0.1)), rows, bootstrap=100, laws=HOLDS)
    assert [row["verdict"] for row in found] == ["undecided"] * 3 + ["supported"]
    assert [row["p"] for row in found[:3]] == [1.0] * 3
    for row, words in zip(
        found, ("no trial has the arm 'closed-sett'", "more than 4 times", "outside the"), strict=False
    ):
        assert words in row["why"]
    assert found[3]["level"] == pytest.approx(1 - 0.05 / 4)


def test_beyond_the_ladder_is_more_than_any_bound_within_it():
    short = table(
        response=lambda n, m, g: 6 * (n + m) ** -0.45, noise=0.01, seeds=3, **{**SMALL, "ladder": (1000, 2500, 5000)}
    )
    claims = (
        claim(quantity="added equivalent", at=((1000, 16_000),), above=3000.0),
        claim(name="beyond", quantity="added equivalent", at=((1000, 16_000),), above=8000.0),
    )
    found = judge(claims, short, bootstrap=100, laws={})
    assert [row["verdict"] for row in found] == ["supported", "undecided"]
    assert Interval.from_json(found[0]["estimate"]).censored == "above"
    assert "> 4,000" in found[0]["why"]


def test_incomplete_test_images_are_left_out(rows):
    half = {rows["address"][0]: {"cross_entropy": np.ones(5)}}
    assert judge([claim()], rows, bootstrap=100, laws=HOLDS, per_image=half) == judge(
        [claim()], rows, bootstrap=100, laws=HOLDS
    )


# ---------------------------------------------------------------------------------------------------------- the answer


def test_the_document_judges_by_the_laws_that_it_reports(rows):
    claims = (claim(above=0.2), claim(name="second", quantity="response ratio", above=None, below=1.0))
    found = analyse(rows, bootstrap=60, claims=claims)
    kept = laws_of(found)
    assert [row["basis"] for row in found["claims"]] == [f"law {', '.join(kept)}", "cell means"]
    assert [row["verdict"] for row in found["claims"]] == ["supported", "supported"]
    assert analyse(rows, bootstrap=60)["claims"] == []
    assert digest(rows, bootstrap=60, claims=claims) == found["digest"]
    assert len({digest(rows, claims=claims), digest(rows, claims=claims[:1]), digest(rows)}) == 3
    text = terminal(found, {"study": "s", "question": "q"}, 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "Claims of the study" in text
    assert "adjusted for 2 declared claims (Holm)" in text


def test_the_report_prints_estimates_verdicts_and_why(rows):
    found = analyse(rows, bootstrap=60, claims=(claim(above=0.2), claim(name="out", at=((70, 5),))))
    page = appendix.claims(found).source
    for words in ("supported", "undecided", "smallest effect 0.1", "outside the real-only ladder", "2 declared claims"):
        assert words in page
    assert appendix.claims({**found, "claims": []}).source == ""


STUDY = """\"\"\"What?\"\"\"
from realfake import Claim, Dataset, Pool, Recipe, Repeat, Study, Subset, Trial

real, test = Subset(of=Dataset(name="digits"), size=50), Dataset(name="digits", split="test")
synthetic = (Subset(of=Pool(generator=Repeat(real=real)), size=100),)
trial = Trial(real=real, synthetic=synthetic, test=test, recipe=Recipe(epochs=1))
dear = Claim(name="dear", quantity="price", at=((50, 100),), arm="repeat", above=1.0, smallest_effect=0.1)
study = Study(name="claimed", trials=(trial,), claims=(dear,))
"""


def test_a_study_file_with_claims_can_be_looked_at_and_a_misnamed_arm_stops_it_at_once(tmp_path):
    (tmp_path / "right.py").write_text(STUDY)
    (tmp_path / "wrong.py").write_text(STUDY.replace('"repeat"', '"closed"'))
    there = ["--store", str(tmp_path / "store")]
    status = CliRunner().invoke(main, ["status", str(tmp_path / "right.py"), *there])
    assert "trial           0 of      1 made" in status.output
    dry = CliRunner().invoke(main, ["run", str(tmp_path / "right.py"), "--dry-run", *there])
    assert (dry.exit_code, "1 trials to train" in dry.output) == (0, True)
    wrong = CliRunner().invoke(main, ["run", str(tmp_path / "wrong.py"), "--dry-run", *there])
    assert wrong.exit_code == 2
    assert "the study has no arm 'closed'; known: repeat" in wrong.output


WANG_STUDY = (
    HAND
    + """
from realfake import wang_claims
claims = wang_claims((50, 100, 200), (1, 4, 16), smallest_price=0.5, smallest_value=0.02)
study = Study(name="wang", trials=study.trials, claims=claims)
"""
)
WANG_HAND = (0.02, 2.0, 0.45, 1e-3, 1.0)


def test_wang_s_claims_of_a_study_are_judged_and_printed_by_the_command_line(tmp_path):
    """A study whose records are written by hand: their error follows Wang's law, so a real image is worth more."""
    (tmp_path / "wang.py").write_text(WANG_STUDY)
    store, noise = Store(tmp_path / "store"), rng(5)
    for spec in studyfile.read(tmp_path / "wang.py").study.trials:
        sizes = (float(spec.n_real), float(spec.n_synthetic), float(spec.n_real))
        make_trial(store, spec, 1.0, float(LAWS["wang"].error(WANG_HAND, *sizes)) * np.exp(noise.normal(0, 0.02)))
    asked = ["fit", str(tmp_path / "wang.py"), "--store", str(store.root)]
    said = CliRunner().invoke(main, asked)
    assert said.exit_code == 0, said.output
    printed = said.output[said.output.index("Claims of the study") :]
    text = " ".join(printed.split())
    assert "price above 1 (smallest effect 0.5)" in text
    assert "price difference above 0" in text
    assert "value difference below 0" in text
    assert "adjusted for 3 declared claims (Holm)" in text
    assert "A synthetic image is worth less than a real one: price at " in text
    assert "the weakest of 9" in text
    assert max(map(len, printed.splitlines())) <= 120
    found = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)["claims"]
    prices = [1 / float(LAWS["wang"].value(WANG_HAND, n, r * n, n)) for n in (50.0, 100.0, 200.0) for r in (1, 4, 16)]
    assert [row["name"] for row in found] == [one.name for one in studyfile.read(tmp_path / "wang.py").study.claims]
    assert min(prices) > 1
    assert [row["verdict"] for row in found] == ["supported", "undecided", "supported"]


def test_what_is_kept_of_a_study_is_made_anew_when_its_claims_change():
    plain, claimed = (Study(name="a", trials=(trial(),), claims=claims) for claims in ((), (claim50(),)))
    assert results.digest([], plain) != results.digest([], claimed)


def laws_of(document):
    from realfake.statistics.equivalence import Fit

    return who_answers(Fit.from_json(document["fits"][0]))


def test_without_claims_there_is_nothing_to_judge(rows):
    assert judge((), rows) == []
