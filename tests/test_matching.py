"""Distribution matching: the identities of Real-Fake's loss, brute-force sums, diffusers' formulas, several workers."""

import itertools
import math

import numpy as np
import pytest
import torch

from realfake.alignment import Matching
from realfake.generators import matching, noising
from realfake.generators.matching import matching_loss
from realfake.generators.noising import latent_weights, loss_weights, noised
from tests.tiny_pipeline import needs_transformers, tiny_open_set


def schedule():
    from diffusers import DDPMScheduler

    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def drawn(n=8, seed=0, dtype=torch.float64, width=5):
    """Latents under noise at random times, a prediction of the noise, and labels of three classes."""
    random = torch.Generator().manual_seed(seed)
    clean, noise, predicted = (torch.randn(n, 4, width, width, generator=random, dtype=dtype) for _ in range(3))
    times = torch.randint(1000, (n,), generator=random)
    truth = noised(schedule().alphas_cumprod.to(dtype), clean, noise, times)
    return truth, noise + 0.3 * predicted, torch.arange(n) % 3, times


def term(predicted, target, weights, labels, **fields):
    return matching_loss(predicted, target, weights, labels, Matching(**{"weight": 1.0, **fields}))


# ------------------------------------------------------------------------------------------------ the forward process


def test_noise_velocity_and_weights_are_those_of_diffusers():
    from diffusers.training_utils import compute_snr

    truth, _, _, times = drawn(dtype=torch.float32)
    theirs = schedule()
    torch.testing.assert_close(truth.noisy, theirs.add_noise(truth.clean, truth.noise, times))
    velocity = theirs.get_velocity(truth.clean, truth.noise, times)
    torch.testing.assert_close(truth.target("v_prediction"), velocity)
    torch.testing.assert_close(truth.snr, compute_snr(theirs, times), rtol=1e-4, atol=0)
    for prediction, divisor in (("epsilon", truth.snr), ("v_prediction", truth.snr + 1)):
        expected = torch.minimum(truth.snr, torch.tensor(5.0)) / divisor  # as diffusers' training scripts write it
        torch.testing.assert_close(loss_weights(truth.snr, 5.0, prediction), expected)
    assert (loss_weights(truth.snr, None, "epsilon") == 1).all()
    torch.testing.assert_close(truth.noise_of(velocity, "v_prediction"), truth.noise, rtol=1e-4, atol=1e-5)


def test_min_snr_weighs_the_share_of_time_steps_that_the_released_schedule_implies():
    kept = schedule().alphas_cumprod.double()
    weights = loss_weights(kept / (1 - kept), 5.0, "epsilon")
    assert (weights < 1).double().mean() == pytest.approx(0.147, abs=5e-4)  # computed from the authors' constants
    assert weights.mean() == pytest.approx(0.917, abs=5e-4)


def test_an_unknown_prediction_is_refused():
    from diffusers import DDPMScheduler

    assert noising.prediction_of(DDPMScheduler(prediction_type="v_prediction")) == "v_prediction"
    with pytest.raises(noising.SpecError, match="predicts 'sample'"):
        noising.prediction_of(DDPMScheduler(prediction_type="sample"))


# --------------------------------------------------------------------------------------------------- the identities


def test_an_error_of_noise_is_a_scaled_error_of_latents():
    truth, predicted, _, _ = drawn()
    scaled = -truth.snr.sqrt()[:, None, None, None] * (truth.clean_of(predicted) - truth.clean)
    torch.testing.assert_close(predicted - truth.noise, scaled, rtol=0, atol=1e-12)


def test_the_released_term_is_the_sum_that_its_equation_says():
    truth, predicted, labels, _ = drawn()
    w = loss_weights(truth.snr, 5.0, "epsilon").numpy()[:, None]
    said, target = (part.flatten(1).numpy() for part in (predicted, truth.noise))
    expected = 0.003 * ((w * said).sum(0) - (w * target).sum(0)) ** 2
    found = matching.points(Matching(), predicted, truth, 5.0)
    ours = matching_loss(found.predicted, found.target, found.weights, labels, Matching(weight=0.003, reduction="sum"))
    assert float(ours) == pytest.approx(expected.mean(), rel=1e-5)


def test_the_same_term_is_had_from_latents_under_other_weights():
    truth, predicted, labels, _ = drawn()
    g = truth.snr.clamp(max=5) / truth.snr.sqrt()
    noise = term(predicted, truth.noise, loss_weights(truth.snr, 5.0, "epsilon"), labels)
    torch.testing.assert_close(term(truth.clean_of(predicted), truth.clean, g, labels), noise, rtol=1e-4, atol=0)


@pytest.mark.parametrize("seed", range(20))
def test_the_weighted_diffusion_loss_bounds_the_linear_term(seed):
    truth, predicted, labels, _ = drawn(seed=seed, n=2 + seed)
    for w in (loss_weights(truth.snr, 5.0, "epsilon"), latent_weights(truth.snr, 5.0), torch.rand(len(labels))):
        assert w.min() >= 0
        assert w.max() <= 1
        loss = (w * (predicted - truth.noise).square().mean(dim=(1, 2, 3))).mean()
        for scope in ("batch", "class"):
            assert term(predicted, truth.noise, w, labels, scope=scope) <= loss * (1 + 1e-6)


def test_a_sum_over_eight_at_one_weight_is_a_mean_at_sixty_four_times_that_weight():
    truth, predicted, labels, _ = drawn(n=8)
    w = loss_weights(truth.snr, 5.0, "epsilon")
    for kernel in ("linear", "rbf"):
        total = term(predicted, truth.noise, w, labels, weight=0.003, reduction="sum", kernel=kernel)
        mean = term(predicted, truth.noise, w, labels, weight=0.192, reduction="mean", kernel=kernel)
        assert abs(float(total) - float(mean)) <= 1e-6 * max(1, abs(float(mean)))


def test_within_classes_only_images_of_the_same_class_are_matched():
    x, y = torch.zeros(4, 3), torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).expand(4, 3)
    w = torch.ones(4)
    crossed, paired = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    assert float(term(x, y, w, crossed, scope="batch")) == 0  # the errors of the two classes cancel
    assert float(term(x, y, w, crossed, scope="class")) == 1  # and within a class they cannot
    assert float(term(x, y, w, paired, scope="class")) == 0
    truth, predicted, labels, _ = drawn()
    w = torch.rand(8)
    for kernel, reduction in itertools.product(("linear", "rbf"), ("mean", "sum")):
        sigma = matching.median_distance(torch.cat([predicted, truth.noise]).flatten(1).float())
        total = 0.0
        for c in range(3):
            rows = labels == c
            x, y = (part[rows].flatten(1).float() for part in (predicted, truth.noise))
            one = matching.linear(x, y, w[rows]) if kernel == "linear" else matching.rbf(x, y, w[rows], sigma)
            total += float(one) * (int(rows.sum()) ** 2 if reduction == "sum" else int(rows.sum()) / 8)
        found = term(predicted, truth.noise, w, labels, scope="class", kernel=kernel, reduction=reduction)
        assert float(found) == pytest.approx(total, rel=1e-5)


def test_weight_zero_is_nothing():
    truth, predicted, labels, _ = drawn()
    assert float(term(predicted * math.inf, truth.noise, torch.ones(8), labels, weight=0.0)) == 0


# --------------------------------------------------------------------------------------------------------- the kernel


def test_the_rbf_distance_is_the_double_sum_over_pairs():
    random = np.random.default_rng(0)
    x, y, w = random.normal(size=(6, 4)), random.normal(size=(6, 4)) + 0.5, random.random(6)
    pooled = np.concatenate([x, y])
    sigma = np.median([np.linalg.norm(a - b) for a, b in itertools.combinations(pooled, 2)])

    def k(a, b):
        return math.exp(-np.sum((a - b) ** 2) / (2 * sigma**2))

    total = 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                total += w[i] * w[j] * (k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]))
    parts = [torch.from_numpy(part) for part in (x, y, w)]
    found = term(*parts, torch.zeros(6), kernel="rbf")
    assert float(found) == pytest.approx(total / 30, rel=1e-5)
    assert float(matching.median_distance(torch.from_numpy(pooled))) == pytest.approx(sigma)


def test_the_rbf_distance_is_unbiased_and_zero_where_predictions_are_exact():
    random = torch.Generator().manual_seed(0)
    ones = torch.ones(5)
    same = [
        float(matching.rbf(*torch.randn(2, 5, 3, generator=random), ones, 2.0)) for _ in range(2000)
    ]  # twice the same law
    error = np.std(same) / math.sqrt(len(same))
    assert abs(np.mean(same)) < 4 * error
    shifted = [
        float(matching.rbf(torch.randn(5, 3, generator=random) + 1, torch.randn(5, 3, generator=random), ones, 2.0))
        for _ in range(500)
    ]
    assert np.mean(shifted) > 20 * error
    x = torch.randn(5, 3, generator=random)
    assert abs(float(term(x, x, ones, torch.zeros(5), kernel="rbf"))) < 1e-6
    assert float(term(x[:1], x[1:2], ones[:1], torch.zeros(1), kernel="rbf")) == 0
    leaf = torch.zeros(3, 2, requires_grad=True)
    term(leaf, torch.zeros(3, 2), ones[:3], torch.zeros(3), kernel="rbf").backward()
    assert torch.isfinite(leaf.grad).all()  # also where all points coincide


# ---------------------------------------------------------------------------------------------------- several workers


class Worker:
    """One of several accelerators whose gather returns what all workers would have given."""

    def __init__(self, number, of, whole):
        self.process_index, self.num_processes, self.whole = number, of, iter(whole)

    def gather(self, rows):
        assert not rows.requires_grad
        whole = next(self.whole)
        return torch.cat([whole[number :: self.num_processes] for number in range(self.num_processes)]).detach()


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("scope", "kernel"), [("batch", "linear"), ("class", "linear"), ("class", "rbf")])
def test_gathered_over_workers_it_is_the_term_of_the_whole_batch(workers, scope, kernel):
    truth, predicted, labels, _ = drawn(dtype=torch.float32)
    settings = Matching(weight=0.7, scope=scope, kernel=kernel, gather="global")
    w = torch.rand(8)
    slope = torch.ones((), requires_grad=True)
    alone = matching_loss(slope * predicted, truth.noise, w, labels, settings)
    (expected,) = torch.autograd.grad(alone, slope)
    whole = [predicted.flatten(1), truth.noise.flatten(1), w, labels]
    gradients = []
    for number in range(workers):
        own = slice(number, None, workers)
        gather = matching.gathered(Worker(number, workers, whole))
        share = (slope * predicted[own], truth.noise[own], w[own], labels[own])
        found = matching_loss(*share, settings, gather)
        assert torch.equal(found, alone)
        gradients.append(torch.autograd.grad(found, slope)[0])
    torch.testing.assert_close(sum(gradients) / workers, expected)  # the average that DDP makes


# ------------------------------------------------------------------------------------------------------------- spaces


def test_points_of_the_latent_space_are_the_denoised_and_the_clean_latents():
    truth, predicted, _, _ = drawn()
    found = matching.points(Matching(space="latent"), predicted, truth, 5.0)
    assert found.target is truth.clean
    torch.testing.assert_close(found.predicted, truth.clean_of(predicted))
    torch.testing.assert_close(found.weights, truth.snr.clamp(max=5) / 5)
    assert (matching.points(Matching(space="latent"), predicted, truth, None).weights == 1).all()
    with pytest.raises(ValueError, match="features_of"):
        matching.points(Matching(space="feature"), predicted, truth, 5.0)


@needs_transformers
def test_features_are_what_transformers_makes_of_the_decoded_images_and_have_gradients():
    from realfake.generators.pipelines import open_folder

    pipeline = open_folder(tiny_open_set())
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2
    with torch.no_grad():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
        images = ((decoded.clamp(-1, 1) / 2 + 0.5) * 255).round().to(torch.uint8)
        prepared = pipeline.feature_extractor(images=list(images), return_tensors="pt")["pixel_values"]
        expected = pipeline.image_encoder(prepared).image_embeds
    to_features = matching.features_of(pipeline)
    leaf = latents.clone().requires_grad_()
    found = to_features(leaf)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.abs().max()))  # images are 8-bit
    found.square().sum().backward()
    assert (leaf.grad.flatten(1).abs().amax(1) > 0).all()
