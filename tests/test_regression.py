"""The search finds what others find: the parameters of noiseless tables, published fits, scipy's least squares."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from realfake.laws import ADDITIVE, LAWS, POWER
from realfake.statistics.regression import Cells, log_prediction, refine, search
from tests.simulated import BASES, LADDER, RATIOS, TRUTHS

LONG_LADDER = tuple(int(n) for n in np.geomspace(250, 256_000, 14))
LADDERS = {"broken": LONG_LADDER, "m4": LONG_LADDER, "rectified": LONG_LADDER}


def cells_of(ladder, bases=BASES, ratios=RATIOS, alone=()):
    """A cell a trial: the ladder, every ratio beside every base, and synthetic images alone."""
    sizes = [(n, 0, n) for n in ladder] + [(n, ratio * n, n) for n in bases for ratio in ratios]
    sizes += [(0, ratio * g, g) for g in alone for ratio in ratios]
    n, m, generator = np.array(sizes, dtype=float).T
    return Cells(n, m, generator, np.arange(len(n)))


def searched(law, cells, log_response, noise_sd=0.02):
    free, held = np.ones(len(law.parameters), dtype=bool), np.zeros(len(law.parameters))
    return search(
        law, cells, log_response, free=free, held=held, noise_sd=np.full(len(log_response), noise_sd)
    ).parameters[0]


@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_a_table_without_noise_gives_back_its_law(law):
    truth = np.array(TRUTHS[law.name])
    cells = cells_of(LADDERS.get(law.name, LADDER), alone=(1000, 5000) if law.synthetic_alone else ())
    expected = log_prediction(law, truth[None], cells)[0]
    found = searched(law, cells, expected)
    np.testing.assert_allclose(log_prediction(law, found[None], cells)[0], expected, atol=1e-3)
    np.testing.assert_allclose(found, truth, rtol=0.02)


def test_chinchillas_parameters_come_back_from_its_printed_formula():
    """E, A, α, B, β as Epoch's replication prints them; D is counted from one on in the additive law."""
    models, tokens = (grid.ravel() for grid in np.meshgrid(np.geomspace(5e7, 1.6e10, 8), np.geomspace(1e9, 1e12, 8)))
    printed = 1.817 + 477.84 / models**0.3473 + 2143.86 / tokens**0.3672
    cells = Cells(models, tokens - 1, np.zeros(64), np.arange(64))
    found = searched(ADDITIVE, cells, np.log(printed))
    np.testing.assert_allclose(np.log(found), np.log((1.817, 477.84, 0.3473, 2143.86, 0.3672)), atol=3e-3)


def least_squares(law, cells, log_response, truth):
    """What scipy's curve_fit makes of log responses, started at the truth."""
    found, _ = curve_fit(
        lambda _, *parameters: log_prediction(law, np.array(parameters)[None], cells)[0],
        np.arange(len(log_response)),
        log_response,
        p0=truth,
        bounds=tuple(np.array(law.bounds).T),
        x_scale=np.abs(truth),
        ftol=1e-12,
        xtol=1e-12,
    )
    return found


@pytest.mark.parametrize("law", [POWER, ADDITIVE, LAWS["scaled"], LAWS["wang"]], ids=lambda law: law.name)
def test_within_the_noise_the_search_is_scipys_least_squares(law):
    """With residuals far below the noise that the robust loss is told, its minimum is that of least squares."""
    truth, cells = np.array(TRUTHS[law.name]), cells_of(LADDER, ratios=() if law is POWER else RATIOS)
    noise = np.random.default_rng(0).normal(0, 0.01, len(cells.n))
    log_response = log_prediction(law, truth[None], cells)[0] + noise
    ours, theirs = searched(law, cells, log_response, noise_sd=1.0), least_squares(law, cells, log_response, truth)
    misfits = [((log_prediction(law, one[None], cells)[0] - log_response) ** 2).sum() for one in (ours, theirs)]
    assert misfits[0] == pytest.approx(misfits[1], rel=1e-4)
    np.testing.assert_allclose(ours, theirs, rtol=0.02)


def test_refits_started_together_are_each_refit_alone():
    law, cells = LAWS["m4"], cells_of(LONG_LADDER)
    truth = np.array(TRUTHS["m4"])
    log_response = log_prediction(law, truth[None], cells) + np.random.default_rng(0).normal(0, 0.01, (3, len(cells.n)))
    free, noise_sd = np.ones(len(truth), dtype=bool), np.full(len(cells.n), 0.01)
    start = np.repeat(truth[None], 3, axis=0)
    together = refine(law, cells, log_response, start, free=free, noise_sd=noise_sd)
    apart = [refine(law, cells, one, truth[None], free=free, noise_sd=noise_sd) for one in log_response]
    np.testing.assert_allclose(together.loss, [float(one.loss[0]) for one in apart], rtol=1e-6)
