"""Translators that are networks: SDEdit, CycleGAN and image-to-image, against closed forms and diffusers."""

import itertools
import json
import math
import pickle

import numpy as np
import pytest
from scipy import stats

from realfake import syn2real
from realfake.generators import Diverged
from realfake.syn2real import Settings
from realfake.syn2real.crops import People
from realfake.syn2real.losses import Losses, TranslatorDiverged
from realfake.values import SpecError
from tests.drawn_people import people
from tests.tiny_pipeline import needs_transformers, tiny_pipeline

# ------------------------------------------------------------------------------------------------------------- SDEdit


@pytest.fixture(scope="module")
def sdedit(tmp_path_factory):
    """A denoiser after enough steps to have learned something, its folder and facts."""
    folder = tmp_path_factory.mktemp("sdedit")
    settings = Settings(steps=60, batch_size=8)
    return folder, syn2real.fit("sdedit", settings, people("synthetic"), people("urban"), folder, seed=1)


def test_sdedit_learns_and_starts_lower_from_an_earlier_fit(sdedit, tmp_path):
    folder, facts = sdedit
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert facts["final_loss"] < 0.5 * facts["first_loss"]
    assert len(lines) == 60
    settings = Settings(steps=10, batch_size=8)
    both = [
        syn2real.fit("sdedit", settings, people("synthetic"), people("urban"), tmp_path, seed=2, warm_start=start)
        for start in (folder, None)
    ]
    assert both[0]["final_loss"] < 0.5 * both[1]["final_loss"]
    assert [facts["warm_start"] for facts in both] == [True, False]


def test_strength_0_changes_nothing_and_more_strength_changes_more(sdedit):
    part, settings, changes = people("synthetic"), json.loads((sdedit[0] / "settings.json").read_text()), []
    for strength in (0.0, 0.15, 0.5):
        (sdedit[0] / "settings.json").write_text(json.dumps(settings | {"strength": strength}))
        result = syn2real.transform(syn2real.load("sdedit", sdedit[0]), part.crops, part.masks, range(8))
        changes.append(np.abs(result.astype(int) - part.crops).mean())
    assert changes[0] == 0
    assert 0 < changes[1] < changes[2]


def test_noise_and_ddim_are_undone_by_a_model_that_knows_the_noise():
    """With ε predicted exactly, every DDIM step lands on the same clean crop (Song et al. 2021, eq. 12 with σ = 0)."""
    import torch

    from realfake.samples import seed_of
    from realfake.syn2real import pixels, sdedit

    clean = pixels.scaled(people("synthetic").crops[:1])
    known = pixels.noise(32, seed_of("sdedit", 3))
    oracle = sdedit.Fitted(lambda x, time, return_dict: (known,), Settings(strength=0.6), torch.device("cpu"))
    np.testing.assert_array_equal(
        sdedit.transform(oracle, People(people("synthetic").crops[:1], people("synthetic").masks[:1]), np.array([3])),
        pixels.levels(clean),
    )


@pytest.mark.parametrize("name", ["sdedit", "cyclegan"])
def test_a_loss_that_is_not_finite_ends_the_fit(name, tmp_path):
    settings = Settings(steps=8, batch_size=2, learning_rate=1e30)
    with pytest.raises(Diverged, match="the translator's loss is not finite after"):
        syn2real.fit(name, settings, people("synthetic"), people("urban"), tmp_path)
    assert pickle.loads(pickle.dumps(TranslatorDiverged(7))).step == 7


def test_losses_are_means_of_each_hundredth_and_are_reported():
    told = []
    losses = Losses(told.append, 250)
    for step in range(1, 251):
        losses.add(step, loss=float(step))
    assert len(losses.lines) == 84  # of three steps each
    assert losses.lines[0] == {"step": 3, "loss": 2.0}
    assert losses.lines[-1] == {"step": 250, "loss": 250.0}
    assert told[-1] == {"done": 250, "total": 250, "unit": "steps", "loss": 250.0}


# ----------------------------------------------------------------------------------------------------------- CycleGAN


def test_cyclegan_moves_colours_and_starts_lower_from_an_earlier_fit(tmp_path):
    random = np.random.default_rng(0)
    masks = np.ones((12, 16, 16), bool)
    blue, red = (
        People((random.uniform(0.4, 1, (12, 16, 16, 1)) * shade).astype(np.uint8), masks)
        for shade in ([40, 60, 220], [220, 60, 40])
    )
    settings = Settings(steps=60, batch_size=2, learning_rate=1e-3)
    facts = syn2real.fit("cyclegan", settings, blue, red, tmp_path / "a", seed=1)
    result = syn2real.transform(syn2real.load("cyclegan", tmp_path / "a"), blue.crops, masks, range(12))
    gaps = [np.abs(crops.mean((0, 1, 2)) - red.crops.mean((0, 1, 2))).mean() for crops in (blue.crops, result)]
    assert gaps[1] < 0.5 * gaps[0]
    assert math.isfinite(facts["final_loss"])
    short = Settings(steps=5, batch_size=2, learning_rate=1e-3)
    warm, cold = (
        syn2real.fit("cyclegan", short, blue, red, tmp_path / "b", seed=2, warm_start=start)["first_loss"]
        for start in (tmp_path / "a", None)
    )
    assert warm < 0.7 * cold


def test_the_translators_loss_of_unchanging_translators_is_adversarial_alone():
    import torch
    from torch import nn

    from realfake.syn2real import cyclegan

    x, y = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    nets = nn.ModuleDict({name: nn.Identity() for name in ("G", "F", "D_X", "D_Y")})
    loss, fake_x, fake_y = cyclegan.translator_loss(nets, x, y)
    assert torch.equal(fake_x, y)
    assert torch.equal(fake_y, x)
    assert loss.item() == pytest.approx(((x - 1) ** 2).mean().item() + ((y - 1) ** 2).mean().item(), rel=1e-5)
    adds = nn.Conv2d(3, 3, 1)  # F adds one half
    nn.init.dirac_(adds.weight)
    nn.init.constant_(adds.bias, 0.5)
    nets["F"] = adds
    more = cyclegan.translator_loss(nets, x, y)[0].item()
    adversarial = ((x - 1) ** 2).mean().item() + ((y + 0.5 - 1) ** 2).mean().item()
    assert more == pytest.approx(adversarial + 10 * (0.5 + 0.5) + 5 * 0.5, rel=1e-5)
    assert cyclegan.judged(nn.Identity(), x, y).item() == pytest.approx(
        ((x - 1) ** 2).mean().item() / 2 + (y**2).mean().item() / 2, rel=1e-5
    )


@pytest.mark.parametrize(("pixels", "patch"), [(32, 16), (64, 34), (128, 70)])
def test_a_critics_patch_is_as_wide_as_the_paper_says(pixels, patch):
    import torch
    from torch import nn

    from realfake.syn2real.cyclegan_networks import critic

    network = nn.Sequential(*(p for p in critic(pixels) if not isinstance(p, nn.InstanceNorm2d)))  # it mixes all places
    x = torch.zeros(1, 3, 160, 160, requires_grad=True)
    scores = network(x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    assert (int(seen.any(0).sum()), int(seen.any(1).sum())) == (patch, patch)


def test_the_buffer_is_filled_first_and_then_gives_back_half_old_ones():
    import torch

    from realfake.syn2real.cyclegan import Buffer

    random, buffer = torch.Generator().manual_seed(0), Buffer(50)
    first = torch.arange(50.0)[:, None]
    assert torch.equal(buffer.exchange(first, random), first)
    later = torch.arange(50.0, 2050.0)[:, None]
    given = buffer.exchange(later, random)
    older = (given != later).sum().item()
    assert stats.binomtest(older, 2000, 0.5).pvalue > 1e-3
    both = torch.cat([given.flatten(), torch.stack(buffer.kept).flatten()])
    assert sorted(both.tolist()) == sorted([*range(2050)])  # nothing is lost or doubled


# ---------------------------------------------------------------------------------------------------- image to image


@needs_transformers
def test_executed_steps_are_those_of_diffusers():
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(tiny_pipeline())
    pipeline.scheduler = DDIMScheduler()
    for steps, strength in itertools.product((1, 7, 20, 50), (0.0, 0.1, 0.25, 0.29, 0.3, 0.55, 0.99, 1.0)):
        pipeline.scheduler.set_timesteps(steps)
        theirs = pipeline.get_timesteps(steps, strength, "cpu")[1]
        assert Settings(sampling_steps=steps, strength=strength).executed_steps == theirs


@needs_transformers
def test_image_to_image_at_strength_0_changes_nothing_and_needs_weights(tmp_path):
    part = people("synthetic")
    syn2real.fit("sd-img2img", Settings(weights=str(tiny_pipeline()), strength=0), part, part, tmp_path)
    same = syn2real.transform(syn2real.load("sd-img2img", tmp_path), part.crops, part.masks, range(8))
    np.testing.assert_array_equal(same, part.crops)
    for weights, why in (("", "set weights to"), (str(tmp_path), "no Stable Diffusion pipeline")):
        with pytest.raises(SpecError, match=why):
            syn2real.fit("sd-img2img", Settings(weights=weights), part, part, tmp_path)
