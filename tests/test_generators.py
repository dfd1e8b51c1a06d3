"""Generators: the formulas against closed forms, the fit against interruption, the samples against their batch."""

import json
import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from realfake import generators
from realfake.generators import closed_set, fitting
from realfake.generators.closed_set import Loaded
from realfake.generators.denoiser import SIGMA_DATA, Denoiser, guided, precondition
from realfake.generators.networks import NETWORKS, Network, network_for
from realfake.samples import Samples, class_counts, image_seeds, load, pool_labels
from realfake.spec import ClosedSet, Pool, Relabel, Repeat
from realfake.values import SpecError
from tests import tiny

SMALL = Network(widths=(8, 16), patch=2)


@pytest.fixture(scope="module")
def accelerator():
    torch.set_num_threads(1)
    return Accelerator(cpu=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory, accelerator):
    """Return a store with digits and one closed-set generator, fitted just long enough that labels matter."""
    store = tiny.import_digits(tmp_path_factory.mktemp("generators"))
    with store.making(FITTED) as (folder, result):
        result |= generators.fit(FITTED, load(store, FITTED.real), folder, print, accelerator=accelerator)
    return store


FITTED = tiny.closed_set(steps=150, batch_size=32, learning_rate=3e-3, ema_decay=0.9)


def fit(spec, folder, accelerator, report=lambda event: None, checkpoint=None, samples=None):
    folder.mkdir(exist_ok=True)
    samples = samples or tiny.digits().take(slice(0, spec.real.size))
    return generators.fit(spec, samples, folder, report, checkpoint=checkpoint, accelerator=accelerator)


def random_denoiser(classes=3, shape=(8, 8, 1), network=SMALL):
    torch.manual_seed(0)
    denoiser = Denoiser(network, shape, classes).eval()
    torch.nn.init.normal_(denoiser.unet.conv_out.weight, std=0.3)
    return denoiser


def draw_images(loaded, labels, seeds, guidance=1.0, sampling_steps=4):
    return closed_set.sample(loaded, labels, seeds, guidance=guidance, sampling_steps=sampling_steps)


# ------------------------------------------------------------------------------------------------------- the formulas


@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0, 80.0])
def test_preconditioning_keeps_its_identities(sigma):
    c_skip, c_out, c_in, c_noise = (float(c) for c in precondition(torch.tensor(sigma, dtype=torch.float64)))
    variance = SIGMA_DATA**2 + sigma**2
    assert c_in**2 * variance == pytest.approx(1)  # the input has unit variance (Karras et al. 2022, eq. 117)
    target_variance = ((1 - c_skip) ** 2 * SIGMA_DATA**2 + c_skip**2 * sigma**2) / c_out**2
    assert target_variance == pytest.approx(1)  # and so has the target (eq. 120)
    assert variance / (sigma * SIGMA_DATA) ** 2 * c_out**2 == pytest.approx(1)  # λ(σ)·c_out² = 1 (eq. 144)
    assert c_noise == pytest.approx(math.log(sigma) / 4)


def test_the_solver_preconditions_as_the_fit_does():
    solver = closed_set.EDMDPMSolverMultistepScheduler(sigma_data=SIGMA_DATA)
    x, f, sigma = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4), torch.tensor(1.7)
    c_skip, c_out, c_in, c_noise = precondition(sigma)
    torch.testing.assert_close(solver.precondition_outputs(x, f, sigma), c_skip * x + c_out * f)
    torch.testing.assert_close(solver.precondition_inputs(x, sigma), c_in * x)
    torch.testing.assert_close(solver.precondition_noise(sigma), c_noise)


def test_a_step_is_trained_on_the_target_that_gives_back_the_clean_image():
    spec = tiny.closed_set(batch_size=8, label_dropout=0.0)
    images, labels = torch.rand(5, 1, 4, 4) * 2 - 1, torch.arange(5)
    x, target, c_noise, label = closed_set.draw(spec, images, labels, 5, step=3)
    c_skip, c_out, c_in, _ = precondition((4 * c_noise).exp()[:, None, None, None])
    torch.testing.assert_close(c_skip * x / c_in + c_out * target, images[label], atol=1e-4, rtol=0)


def test_guidance_is_the_linear_extrapolation_it_is_said_to_be():
    denoiser = random_denoiser()
    x, c_noise, labels = torch.randn(4, 1, 8, 8), torch.zeros(4), torch.tensor([0, 1, 2, 0])
    with torch.inference_mode():
        conditional, unconditional = denoiser(x, c_noise, labels), denoiser(x, c_noise, torch.full((4,), 3))
        assert not torch.allclose(conditional, unconditional, atol=1e-3)
        for w, expected in {
            0.0: unconditional,
            1.0: conditional,
            2.5: unconditional + 2.5 * (conditional - unconditional),
        }.items():
            torch.testing.assert_close(guided(denoiser, x, c_noise, labels, w), expected)


def test_without_guidance_the_network_runs_once_an_evaluation():
    class Counting(Denoiser):
        rows = 0

        def forward(self, x_bchw, c_noise_b, labels_b):
            self.rows += len(x_bchw)
            return super().forward(x_bchw, c_noise_b, labels_b)

    for w, rows in {1.0: 5, 2.0: 10}.items():
        denoiser = Counting(SMALL, (8, 8, 1), 3)
        draw_images(Loaded(denoiser, torch.device("cpu")), [0], [0], guidance=w, sampling_steps=5)
        assert denoiser.rows == rows


def test_a_new_network_samples_the_gaussian_that_its_preconditioning_assumes():
    """F = 0 is the exact denoiser of N(0, σ_data²): the probability flow shrinks the noise to σ_data, nothing else."""
    loaded = Loaded(Denoiser(SMALL, (8, 8, 1), 2).eval(), torch.device("cpu"))
    images = draw_images(loaded, [0, 1, 0], [5, 6, 7], sampling_steps=40)[..., 0]
    noise = np.stack([torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(s))[0].numpy() for s in (5, 6, 7)])
    expected = ((SIGMA_DATA * noise + 1) * 127.5).clip(0, 255)
    assert np.abs(images - expected).max() <= 2


class ExactDenoiser(torch.nn.Module):
    """The best denoiser for one known image a class: D(x; σ) is that image, so F is the fit's own target."""

    def __init__(self, images_bchw):
        super().__init__()
        self.images, self.classes = images_bchw, len(images_bchw)
        self.shape = (*images_bchw.shape[2:], images_bchw.shape[1])

    def forward(self, x_bchw, c_noise_b, labels_b):
        c_skip, c_out, c_in, _ = precondition((4 * c_noise_b).exp()[:, None, None, None])
        return (self.images[labels_b] - c_skip * x_bchw / c_in) / c_out


@pytest.mark.parametrize("sampling_steps", [1, 2, 8])
def test_the_exact_denoiser_samples_exactly_the_image_of_each_class(sampling_steps):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    exact = ExactDenoiser(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1)
    drawn = draw_images(Loaded(exact, torch.device("cpu")), [3, 0, 2], [1, 2, 3], sampling_steps=sampling_steps)
    np.testing.assert_allclose(drawn.astype(int), images[[3, 0, 2]], atol=1)


# ---------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_the_images_it_is_for(name):
    network = NETWORKS[name]
    sides = [side for side in (8, 14, 15, 16, 28, 32, 63, 64) if network.smallest <= side <= network.largest]
    assert sides
    tried = [*((s, s) for s in sides), (sides[0], sides[0] + 1)]
    for height, width in tried if network.layers < 12 else tried[-1:]:
        with torch.device("meta"):  # shapes without numbers: some have more than 100 million weights
            denoiser = Denoiser(network, (height, width, 3), 2)
            x = torch.empty(1, 3, height, width)
            assert denoiser(x, torch.zeros(1), torch.tensor([2])).shape == x.shape


def test_padding_is_cropped_where_it_was_put():
    """Padded by hand on the same sides, a network without padding gives the same pixels."""
    inner, outer = random_denoiser(shape=(6, 7, 1)), random_denoiser(shape=(8, 8, 1))
    outer.load_state_dict(inner.state_dict())
    x = torch.randn(2, 1, 6, 7)
    padded = torch.nn.functional.pad(x, (0, 1, 1, 1))
    arguments = torch.zeros(2), torch.tensor([0, 1])
    torch.testing.assert_close(inner(x, *arguments), outer(padded, *arguments)[..., 1:7, 0:7])


def test_an_unknown_network_is_told_the_nearest_and_a_wrong_size_the_cure():
    with pytest.raises(SpecError, match="did you mean 'unet-xs'"):
        network_for("unetxs", 8, 8)
    with pytest.raises(SpecError, match=r"Dataset\(pixels=…\)"):
        network_for("unet-xs", 64, 64)


# --------------------------------------------------------------------------------------------------------- the fit


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_a_fit_leaves_what_it_says(store):
    folder, result = store.folder(FITTED), store.record(FITTED)["result"]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    config = json.loads((folder / "config.json").read_text())
    assert history[-1]["step"] == 150
    assert len(history) <= 100
    assert set(history[0]) == {"step", "loss"}
    assert np.mean([line["loss"] for line in history[-10:]]) < 0.5 * history[0]["loss"]
    assert config["image_shape"] == [8, 8, 1]
    assert config["classes"] == list("0123456789")
    assert config["network"]["name"] == "unet-xs"
    assert result["n_generator"] == 50
    assert result["parameters"] == sum(p.numel() for p in Denoiser(NETWORKS["unet-xs"], (8, 8, 1), 10).parameters())


def test_the_seed_decides_the_weights(tmp_path, accelerator):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(ord(name))  # whatever else was drawn in this process
        fit(tiny.closed_set(steps=3, seed=seed), tmp_path / name, accelerator)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def interrupting_report(event):
    if event["done"] == 7:
        raise KeyboardInterrupt


def interrupted_average(average, parameters, update=closed_set.EMAModel.step):
    if average.optimization_step == 6:
        raise KeyboardInterrupt  # the weights have made their seventh update, the average has not
    update(average, parameters)


@pytest.mark.parametrize("where", ["between updates", "inside an update"])
def test_an_interrupted_fit_resumes_to_the_same_bits(tmp_path, accelerator, monkeypatch, where):
    spec, events = tiny.closed_set(steps=12, flip=True), []
    fit(spec, tmp_path / "undisturbed", accelerator)
    monkeypatch.setattr(fitting, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0.0 if where == "inside an update" else 1e9)
    with monkeypatch.context() as patch:
        if where == "inside an update":
            patch.setattr(closed_set.EMAModel, "step", interrupted_average)
        with pytest.raises(KeyboardInterrupt):
            fit(spec, tmp_path / "resumed", accelerator, interrupting_report, tmp_path / "checkpoint")
    fit(spec, tmp_path / "resumed", accelerator, events.append, tmp_path / "checkpoint")
    assert events[0]["done"] == (8 if where == "between updates" else 7)  # not from the first step
    for file in ("model.safetensors", "history.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "undisturbed" / file).read_bytes()


def test_progress_is_reported_and_ends_at_the_last_step(tmp_path, accelerator):
    events = []
    fit(tiny.closed_set(steps=3), tmp_path / "fit", accelerator, events.append)
    assert events[-1].items() >= {"done": 3, "total": 3, "unit": "steps"}.items()
    assert math.isfinite(events[-1]["loss"])


def test_one_image_is_enough(tmp_path, accelerator):
    spec = tiny.closed_set(real=tiny.real(1), steps=2)
    assert fit(spec, tmp_path / "one", accelerator)["n_generator"] == 1


def test_a_fit_that_diverges_says_when(tmp_path, accelerator):
    spec = tiny.closed_set(steps=40, learning_rate=1e30)
    with pytest.raises(generators.Diverged) as caught:
        fit(spec, tmp_path / "diverged", accelerator)
    assert 1 <= caught.value.step < 40
    assert not (tmp_path / "diverged" / "model.safetensors").exists()


def test_a_fit_refuses_what_does_not_fit_together(tmp_path, accelerator):
    with pytest.raises(ValueError, match="mixed_precision='bf16'"):
        fit(tiny.closed_set(precision="bf16"), tmp_path / "a", accelerator)
    large = Samples(np.zeros((2, 64, 64, 1), np.uint8), np.array([0, 1]), np.arange(2), ("a", "b"))
    with pytest.raises(SpecError, match="64×64"):
        fit(tiny.closed_set(), tmp_path / "b", accelerator, samples=large)
    with pytest.raises(TypeError, match="Repeat is not fitted"):
        generators.fit(Repeat(real=tiny.real()), large, tmp_path, print)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (5, 3), (7, 16)])
def test_batches_visit_every_image_equally_often(n, batch_size):
    rows = np.concatenate([closed_set.batch_rows(n, batch_size, 0, step) for step in range(20)])
    for epoch in range(len(rows) // n):
        assert sorted(rows[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_labels_are_dropped_and_images_mirrored_as_often_as_asked():
    images, labels = torch.arange(12.0).reshape(1, 1, 1, 12).repeat(64, 1, 1, 1), torch.zeros(64, dtype=torch.int64)
    spec = tiny.closed_set(batch_size=4096, label_dropout=0.25, flip=True)
    x, target, c_noise, label = closed_set.draw(spec, images, labels, 9, step=0)
    assert (label == 9).float().mean() == pytest.approx(0.25, abs=0.03)
    c_skip, c_out, c_in, _ = precondition((4 * c_noise).exp()[:, None, None, None])
    clean = c_skip * x / c_in + c_out * target
    assert (clean[:, 0, 0, 0] > clean[:, 0, 0, -1]).float().mean() == pytest.approx(0.5, abs=0.03)


def test_the_learning_rate_warms_up_and_ends_near_zero():
    factors = [closed_set.schedule(step, 400) for step in range(400)]
    assert factors[0] == pytest.approx(1 / closed_set.WARM_UP_STEPS)
    assert 0.9 < max(factors) <= 1
    assert 0 < factors[-1] < 1e-3


# ------------------------------------------------------------------------------------------------------- the samples


def same_image(a, b):
    """Equal within one grey level on 99.9 % of the pixels."""
    return (np.abs(a.astype(int) - b.astype(int)) <= 1).mean() >= 0.999


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_an_image_does_not_depend_on_its_batch(store, guidance):
    loaded = closed_set.load(FITTED, store.folder(FITTED), "cpu")
    labels, seeds = np.arange(64) % 10, np.arange(64) + 2**62
    whole = draw_images(loaded, labels, seeds, guidance)
    for batch_size in (1, 7):
        parts = [slice(i, i + batch_size) for i in range(0, 64, batch_size)]
        assert same_image(whole, np.concatenate([draw_images(loaded, labels[p], seeds[p], guidance) for p in parts]))


def test_images_follow_their_own_seed_and_label(store):
    loaded = closed_set.load(FITTED, store.folder(FITTED), "cpu")
    first, again, seed, label = draw_images(loaded, [3, 3, 3, 7], [11, 11, 12, 11])
    assert same_image(first, again)
    assert not same_image(first, seed)
    assert not same_image(first, label)


def test_labels_matter_after_a_short_fit(store):
    """Zeros have a hole: their middle is dark. Ones are bright there."""
    loaded = closed_set.load(FITTED, store.folder(FITTED), "cpu")
    images = draw_images(loaded, [0] * 32 + [1] * 32, range(64), guidance=2.0, sampling_steps=8)
    middle = images[:, 3:5, 3:5].mean((1, 2, 3))
    assert middle[32:].mean() > middle[:32].mean() + 60


# --------------------------------------------------------------------------- controls, and the contract of every kind

POOLS = {
    "closed_set": Pool(generator=FITTED, guidance=1.5, sampling_steps=3),
    "repeat": Pool(generator=Repeat(real=tiny.real())),
    "repeat, proportional": Pool(generator=Repeat(real=tiny.real(45)), labels="proportional"),
    "relabelled closed_set": Pool(generator=Relabel(generator=FITTED), sampling_steps=3),
    "relabelled repeat": Pool(generator=Relabel(generator=Repeat(real=tiny.real(45))), labels="proportional"),
}


def make(store, pool, size, batch_size=64):
    loaded = generators.load_generator(pool.generator, store, "cpu")
    labels, seeds = pool_labels(pool, 0, size, class_counts(store, pool)), image_seeds(pool, 0, size)
    parts = [slice(i, i + batch_size) for i in range(0, size, batch_size)]
    made = [generators.sample(loaded, pool, labels[p], seeds[p], range(size)[p]) for p in parts]
    return np.concatenate(made), labels


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_every_kind_makes_one_uint8_image_a_label_whatever_the_batch(store, pool):
    images, _ = make(store, pool, 30)
    assert images.dtype == np.uint8
    assert images.shape == (30, 8, 8, 1)
    assert same_image(images, make(store, pool, 30, batch_size=7)[0])
    assert len(np.unique(images.reshape(30, -1), axis=0)) > 10


def test_repeat_brings_every_real_image_of_a_class_in_turn(store):
    pool = POOLS["repeat"]
    real, (images, labels) = load(store, pool.generator.real), make(store, pool, 120)
    for label in range(10):
        of_class, made = real.images[real.labels == label], images[labels == label]
        np.testing.assert_array_equal(made, of_class[np.arange(12) % len(of_class)])


def test_proportional_repeat_is_the_whole_subset_again_and_again(store):
    pool = POOLS["repeat, proportional"]
    real, (images, labels) = load(store, pool.generator.real), make(store, pool, 2 * 45)

    def rows(images, labels):
        return sorted(zip(labels.tolist(), (image.tobytes() for image in images), strict=True))

    for block in (slice(0, 45), slice(45, 90)):
        assert rows(images[block], labels[block]) == rows(real.images, real.labels)


def test_repeat_names_a_class_that_it_cannot_repeat(store):
    pool = Pool(generator=Repeat(real=tiny.real(3)))
    loaded = generators.load_generator(pool.generator, store)
    missing = min(set(range(10)) - set(loaded.labels.tolist()))
    with pytest.raises(ValueError, match=f"class '{missing}' has no image"):
        generators.sample(loaded, pool, [missing], [0], [0])


@pytest.mark.parametrize("labels", ["balanced", "proportional"])
def test_relabelled_images_say_nothing_of_their_label(store, labels):
    pool = Pool(generator=Relabel(generator=Repeat(real=tiny.real(200))), labels=labels)
    images, recorded = make(store, pool, 2000)
    real = load(store, tiny.real(200))
    true_label = {image.tobytes(): label for image, label in zip(real.images, real.labels, strict=True)}
    shown = np.array([true_label[image.tobytes()] for image in images])
    table = np.zeros((10, 10))
    np.add.at(table, (recorded, shown), 1)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 126  # χ² with 81 degrees of freedom, 99.9 %
    shares = np.bincount(real.labels) / 200 if labels == "proportional" else np.full(10, 0.1)
    np.testing.assert_allclose(table.sum(0) / 2000, shares, atol=0.03)


def test_another_relabel_seed_is_another_permutation(store):
    pools = [Pool(generator=Relabel(generator=Repeat(real=tiny.real()), seed=seed)) for seed in (0, 1)]
    loaded = generators.load_generator(pools[0].generator, store)
    drawn = [generators.sample(loaded, pool, range(10), range(10), range(10)) for pool in pools]
    assert (drawn[0] != drawn[1]).any()


def test_a_generator_that_is_not_made_is_missing(store):
    with pytest.raises(FileNotFoundError):
        generators.load_generator(ClosedSet(real=tiny.real(), seed=99), store)


def test_a_checkpoint_of_another_format_is_not_gone_on_from(tmp_path):
    import torch

    from realfake.generators import fitting

    fitting.write_state(tmp_path, {"step": 3})
    assert fitting.read_state(tmp_path) == {"step": 3}
    torch.save({"step": 3}, tmp_path / fitting.CHECKPOINT)  # as the first version kept it
    assert fitting.read_state(tmp_path) is None
