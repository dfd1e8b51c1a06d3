"""The GAN: its losses and augmentations against closed forms, its fit against interruption, its images against their
batch, and what a study makes of it."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from realfake import generators, records, training
from realfake.generators import fitting, gan
from realfake.generators.adversaries import Discriminator, Generator
from realfake.generators.diffaugment import NUMBERS, augmented
from realfake.generators.networks import ADVERSARIES, Adversaries, adversaries_for
from realfake.samples import Samples, load
from realfake.spec import BestOf, Gan, Pool, Relabel, Subset
from realfake.synthesis import Maker
from realfake.values import SpecError
from tests import tiny

SMALL = Adversaries(widths=(16, 16), latent=8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(ADVERSARIES, "gan-tiny", SMALL)


@pytest.fixture(scope="module")
def accelerator():
    AcceleratorState._reset_state(reset_partial_state=True)  # another test's, which may compute in bf16
    GradientState._reset_state()
    torch.set_num_threads(1)
    return Accelerator(cpu=True)


def spec(**fields) -> Gan:
    return Gan(**{"real": tiny.real(), "network": "gan-tiny", "steps": 4, "batch_size": 8, **fields})


def fit(spec, folder, accelerator, report=lambda event: None, checkpoint=None, samples=None):
    folder.mkdir(exist_ok=True)
    samples = samples or tiny.digits().take(slice(0, spec.real.size))
    return generators.fit(spec, samples, folder, report, checkpoint=checkpoint, accelerator=accelerator)


# ------------------------------------------------------------------------------------------------------- the formulas


def test_the_hinge_loss_counts_only_what_lies_within_its_margin():
    real, made = torch.tensor([2.0, 1.0, 0.5, -1.0]), torch.tensor([-3.0, -1.0, 0.0, 2.0])
    assert gan.hinge(real, made) == pytest.approx((0 + 0 + 0.5 + 2) / 4 + (0 + 0 + 1 + 3) / 4)


def test_the_discriminator_projects_its_features_on_the_label(accelerator):
    """ψ(φ(x)) + ⟨e(y), φ(x)⟩: scores of one image under three labels leave one φ, which scores every other label."""
    discriminator = Discriminator(SMALL, (8, 8, 1), 20).eval()
    x = torch.randn(1, 1, 8, 8).expand(20, -1, -1, -1)
    with torch.no_grad():
        scores, table = discriminator(x, torch.arange(20)), discriminator.embedding.weight
        design = torch.cat([table, torch.ones(20, 1)], 1)
        solution = torch.linalg.lstsq(design[:17].double(), scores[:17].double()[:, None]).solution
        torch.testing.assert_close((design.double() @ solution)[:, 0], scores.double(), atol=1e-4, rtol=1e-3)


def test_every_layer_of_the_discriminator_keeps_to_unit_spectral_norm():
    discriminator = Discriminator(SMALL, (8, 8, 1), 3).train()
    for _ in range(60):  # one step of the power iteration each
        discriminator(torch.randn(1, 1, 8, 8), torch.tensor([0]))
    weights = [m.weight for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    weights.append(discriminator.embedding.weight)
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def plainly_augmented(image, numbers):
    """Return an image ``(c, h, w)`` varied as the paper's code does it, pixel by pixel."""
    channels, height, width = image.shape
    if channels == 3:
        image = image + numbers[4] - 0.5
        image = image.mean(0) + 2 * numbers[5] * (image - image.mean(0))
        image = image.mean() + (numbers[6] + 0.5) * (image - image.mean())
    found = np.zeros_like(image)
    down, across = (int(u * (2 * (n // 8) + 1)) - n // 8 for u, n in zip(numbers, (height, width), strict=False))
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + across < width:
                found[:, i, j] = image[:, i + down, j + across]
    sizes = height // 2, width // 2
    spans = zip(numbers[2:4], (height, width), sizes, strict=True)
    middles = [int(u * (n + 1 - size % 2)) for u, n, size in spans]
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            at = i + middles[0] - sizes[0] // 2, j + middles[1] - sizes[1] // 2
            if 0 <= at[0] < height and 0 <= at[1] < width:
                found[:, at[0], at[1]] = 0
    return found


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 14)])
def test_images_are_varied_as_the_paper_does(shape):
    random = np.random.default_rng(0)
    images, numbers = random.normal(size=(40, *shape)), random.random((40, NUMBERS))
    expected = np.stack([plainly_augmented(*pair) for pair in zip(images, numbers, strict=True)])
    np.testing.assert_allclose(augmented(torch.tensor(images), torch.tensor(numbers)).numpy(), expected, atol=1e-12)
    assert (expected != images).any((1, 2, 3)).mean() > 0.9


def test_images_of_one_label_are_as_far_apart_as_they_are_for_their_latents(accelerator):
    """Of a generator that halves its latents, one half; one that heeds the label alone gives 0 (Mao et al. 2019)."""
    data, discriminator = tiny.digits(), Discriminator(SMALL, (8, 8, 1), 10)
    batch = gan.draw(spec(), gan.scaled(data.images), torch.from_numpy(data.labels), 64, 0, 1)
    for factor in (0.5, 0.0):

        def creator(latents, labels, factor=factor):
            return (factor * latents).unflatten(1, (1, 8, 8)) + labels[:, None, None, None]

        _, spread = gan._create(batch, creator, discriminator, augmented, accelerator)
        assert spread.item() == pytest.approx(factor)


def test_the_gradient_of_a_batch_is_the_mean_of_its_shares(accelerator):
    """So several processes, each with its share, learn what one would: nothing ties an image to its batch."""
    torch.manual_seed(0)
    generator, discriminator = Generator(SMALL, (8, 8, 1), 10), Discriminator(SMALL, (8, 8, 1), 10)
    discriminator.eval()  # the power iteration stands still
    data = tiny.digits()
    whole = gan.draw(spec(), gan.scaled(data.images), torch.from_numpy(data.labels), 8, 0, 0)
    halves = [gan.Batch(**{k: v[i::2] for k, v in vars(whole).items()}) for i in (0, 1)]

    def gradients(batch):
        parts = [*generator.parameters(), *discriminator.parameters()]
        judged = gan._judge(batch, generator, discriminator, augmented, accelerator)
        created = sum(gan._create(batch, generator, discriminator, augmented, accelerator))
        one = torch.autograd.grad(judged, parts[len(list(generator.parameters())) :])
        return [*torch.autograd.grad(created, list(generator.parameters())), *one]

    for of_whole, *of_halves in zip(gradients(whole), *map(gradients, halves), strict=True):
        torch.testing.assert_close(of_whole, sum(of_halves) / 2, atol=1e-5, rtol=1e-3)


# --------------------------------------------------------------------------------------------------------- the fit


def halves(n=64):
    """Images of two classes at 8 px: the left half bright, or the right one."""
    labels = np.arange(n) % 2
    images = np.random.default_rng(0).integers(0, 60, (n, 8, 8, 1))
    images[labels == 0, :, :4] += 180
    images[labels == 1, :, 4:] += 180
    return Samples(images.astype(np.uint8), labels, np.arange(n), ("left", "right"))


def test_it_learns_what_tells_two_classes_apart(tmp_path, accelerator):
    learning = spec(steps=150, batch_size=16, learning_rate=3e-3, discriminator_learning_rate=3e-3, ema_decay=0.9)
    fit(learning, tmp_path / "fit", accelerator, samples=halves())
    labels = np.arange(40) % 2
    images = gan.sample(gan.load(learning, tmp_path / "fit", "cpu"), labels, range(40)).astype(float)
    left, right = images[:, :, :4].mean((1, 2, 3)), images[:, :, 4:].mean((1, 2, 3))
    assert (np.where(labels == 0, left - right, right - left) > 90).mean() > 0.9


def test_an_interrupted_fit_resumes_to_the_same_bits(tmp_path, accelerator, monkeypatch):
    whole, events = spec(steps=6, flip=True, discriminator_steps=2), []
    fit(whole, tmp_path / "undisturbed", accelerator)

    def interrupting(event):
        if event["done"] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "REPORT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fit(whole, tmp_path / "resumed", accelerator, interrupting, tmp_path / "checkpoint")
    fit(whole, tmp_path / "resumed", accelerator, events.append, tmp_path / "checkpoint")
    assert events[0]["done"] == 4  # not from the first step
    for file in ("model.safetensors", "history.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "undisturbed" / file).read_bytes()


def test_the_seed_decides_the_weights(tmp_path, accelerator):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(ord(name))  # whatever else was drawn in this process
        fit(spec(steps=2, seed=seed), tmp_path / name, accelerator)
        found.append((tmp_path / name / "model.safetensors").read_bytes())
    assert found[0] == found[1] != found[2]


def test_a_batch_follows_from_its_seed_step_and_turn():
    images, labels = torch.rand(9, 1, 8, 8), torch.arange(9)
    of = [gan.draw(spec(seed=s), images, labels, 8, step, t) for s, step, t in ((0, 1, 0), (0, 1, 0), (0, 1, 1))]
    assert all(torch.equal(part, vars(of[1])[name]) for name, part in vars(of[0]).items())
    assert torch.equal(of[0].labels, of[2].labels)  # the generator's turn sees the labels of the discriminator's
    assert not torch.equal(of[0].latents, of[2].latents)


def test_a_fit_that_diverges_says_when(tmp_path, accelerator):
    with pytest.raises(generators.Diverged) as caught:
        fit(spec(steps=20, learning_rate=1e30, discriminator_learning_rate=1e30), tmp_path / "fit", accelerator)
    assert 1 <= caught.value.step < 20


# ------------------------------------------------------------------------------------------------------- the images


def test_an_image_depends_on_its_own_label_and_seed(accelerator):
    torch.manual_seed(0)
    loaded = gan.Loaded(Generator(SMALL, (8, 8, 1), 10).eval(), torch.device("cpu"))
    torch.nn.init.normal_(loaded.generator.last[-1].weight, std=0.5)
    labels, seeds = np.arange(30) % 10, np.arange(30) + 2**62
    whole = gan.sample(loaded, labels, seeds)
    alone = np.concatenate([gan.sample(loaded, labels[i : i + 7], seeds[i : i + 7]) for i in range(0, 30, 7)])
    assert (np.abs(whole.astype(int) - alone) <= 1).mean() >= 0.999
    assert not np.array_equal(*gan.sample(loaded, [3, 3], [1, 2]))
    assert not np.array_equal(*gan.sample(loaded, [3, 4], [1, 1]))


@pytest.mark.parametrize("name", ADVERSARIES)
def test_every_preset_makes_and_judges_the_images_it_is_for(name):
    preset = ADVERSARIES[name]
    for shape in ((8, 8, 1), (14, 14, 1), (17, 21, 3), (28, 28, 1), (64, 64, 3)):
        if min(shape[:2]) >= preset.smallest:
            generator, discriminator = Generator(preset, shape, 3), Discriminator(preset, shape, 3)
            images = generator(torch.randn(2, preset.latent), torch.tensor([0, 2]))
            assert images.shape == (2, shape[2], *shape[:2])
            assert discriminator(images, torch.tensor([0, 2])).shape == (2,)
            assert 4 <= min(generator.coarsest) <= 8


def test_what_a_gan_cannot_do_is_refused():
    for generator in (spec(), Relabel(generator=spec()), BestOf(generator=spec(), critic=tiny.trial())):
        with pytest.raises(SpecError, match=r"Pool\.guidance=2\.0: a Gan"):
            Pool(generator=generator, guidance=2.0)
    with pytest.raises(SpecError, match=r"Pool\.solver"):
        Pool(generator=spec(), solver="ddim")
    with pytest.raises(SpecError, match="did you mean 'gan-xs'"):
        adversaries_for("ganxs", 8, 8)
    with pytest.raises(SpecError, match=r"Gan\.network 'gan-xs' is for sides of 8 to 64"):
        adversaries_for("gan-xs", 128, 128)


# --------------------------------------------------------------------------------------------------------- in a study


def test_a_study_makes_it_as_any_other_generator(tmp_path):
    store, made = tiny.import_digits(tmp_path), spec(steps=3)
    fitted = training.make(made, store, lambda event: None, tiny.CPU)
    counted = sum(part.numel() for part in Generator(SMALL, (8, 8, 1), 10).parameters())
    assert {**fitted, "parameters": counted, "n_generator": 50, "status": "ok"} == fitted
    pools = [Pool(generator=made), Pool(generator=made, sampling_steps=3)]
    for pool in pools:
        Maker(store).make(pool, 0)
    images = [load(store, Subset(of=pool, size=8)).images for pool in pools]
    assert len(np.unique(images[0].reshape(8, -1), axis=0)) == 8
    with_it, without = tiny.trial(synthetic=(Subset(of=pools[0], size=100),)), tiny.trial()
    for trial in (with_it, without):
        training.make(trial, store, lambda event: None, tiny.CPU)
    rows = records.table([with_it, without], store)
    assert [row["arm"] for row in rows] == ["gan", "real-only"]
    assert rows[0]["n_generator"] == 50
    assert rows[0]["generator_steps"] == 3
    assert rows[0]["generator_parameters"] == counted
    assert rows[0]["generator_seconds"] == store.record(made)["seconds"]
    assert "generator_steps" not in rows[1]


def test_bf16_is_computed_and_kept_in_fp32(tmp_path):
    """Last, for the accelerator of this process is then another."""
    made = training.make(spec(precision="bf16"), tiny.import_digits(tmp_path), lambda event: None, tiny.CPU)
    assert made["environment"]["precision"] == "bf16"
    assert np.isfinite(made["final_loss"])
