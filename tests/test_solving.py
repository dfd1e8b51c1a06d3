"""The denoising loop: the time steps of the reference, diffusers' own pipelines on the same latents, and batches."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from diffusers import PNDMScheduler, StableDiffusionImg2ImgPipeline  # noqa: E402

from realfake.generators import pipelines, solving  # noqa: E402
from realfake.generators.prompting import TextStates  # noqa: E402
from realfake.values import SpecError  # noqa: E402
from tests import tiny, tiny_open_set  # noqa: E402

SD15 = {  # scheduler/scheduler_config.json of Stable Diffusion 1.5
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
SOLVERS = ("own", "ddim", "unipc", "dpm++", "lcm")
TEXT, NEGATIVE = "a photo of a three", "blurry"


@pytest.fixture(scope="module")
def pipeline():
    return tiny_open_set.pipeline()


@pytest.mark.parametrize(
    ("strength", "executed", "first", "a_t"),
    [
        *((0.3, 9, 300, 0.768), (0.5, 15, 499, 0.527), (0.6, 18, 599, 0.402)),
        *((0.75, 22, 733, 0.254), (0.9, 27, 899, 0.120), (1.0, 30, 999, 0.068)),
    ],
)
def test_strengths_are_the_steps_that_the_reference_says(strength, executed, first, a_t):
    """realfake.md 1.5: 30 UniPC steps with linear spacing."""
    facts = solving.plan(PNDMScheduler(**SD15), "unipc", 30, strength).facts()
    assert (facts["executed_steps"], facts["t_start"], facts["from_real_latents"]) == (executed, first, True)
    assert facts["a_t"] == pytest.approx(a_t, abs=5e-4)
    assert facts["s_t"] ** 2 + facts["a_t"] ** 2 == pytest.approx(1)


def test_the_released_setting_begins_at_snr_0_069():
    facts = solving.plan(PNDMScheduler(**SD15), "unipc", 30, 0.75).facts()
    assert facts["s_t"] == pytest.approx(0.967, abs=5e-4)
    assert facts["snr"] == pytest.approx(0.069, abs=5e-4)


def test_noise_is_denoised_by_all_steps():
    facts = solving.plan(PNDMScheduler(**SD15), "unipc", 30).facts()
    assert (facts["executed_steps"], facts["t_start"], facts["from_real_latents"]) == (30, 999, False)


def ours(pipeline, solver, seeds, guidance, start=None, strength=None, steps=6):
    """The images (n, 16, 16, 3) of one prompt, and of as many starting latents as there are seeds."""
    plan = solving.plan(pipeline.scheduler, solver, steps, strength)
    states = TextStates(pipeline).of([TEXT] * len(seeds))
    if guidance != 1:
        states = torch.cat([TextStates(pipeline).of([NEGATIVE] * len(seeds)), states])
    drawn = solving.randoms(seeds)
    with torch.inference_mode():
        latents = solving.begin(plan, (4, 8, 8), drawn, start)
        latents = solving.denoise(pipeline.unet, plan, latents, states, drawn, guidance=guidance)
        return pipelines.from_pixels(solving.decode(pipeline.vae, latents), 16, 3)


def theirs(kind, pipeline, solver, seed, guidance, **options):
    """What diffusers' own pipeline makes of the same seed, with the same kind of solver."""
    parts = {name: part for name, part in pipeline.components.items() if name != "scheduler"}
    whole = kind(**parts, scheduler=solving._scheduler(pipeline.scheduler, solver), requires_safety_checker=False)
    whole.set_progress_bar_config(disable=True)
    made = whole(
        TEXT, negative_prompt=NEGATIVE, num_inference_steps=6, guidance_scale=guidance, output_type="np",
        generator=torch.Generator().manual_seed(seed), **options,
    ).images  # fmt: skip
    return np.round(made * 255)


@pytest.mark.parametrize(("solver", "guidance"), [("own", 1.0), *((solver, 3.0) for solver in SOLVERS)])
def test_images_are_those_of_diffusers_own_pipeline(pipeline, solver, guidance):
    made = ours(pipeline, solver, [11], guidance)
    expected = theirs(type(pipeline), pipeline, solver, 11, guidance)
    assert np.abs(made - expected).max() <= 1
    assert guidance == 1 or np.abs(made - ours(pipeline, solver, [11], 1.0).astype(float)).max() > 2


@pytest.mark.parametrize(("solver", "strength"), [("unipc", 1.0), *((solver, 0.5) for solver in SOLVERS)])
def test_images_that_begin_at_real_ones_are_those_of_diffusers_own_pipeline(pipeline, solver, strength):
    pixels = pipelines.to_pixels(tiny.digits().images[:1], 16)
    with torch.inference_mode():
        start = solving.encode(pipeline.vae, pixels)
    made = ours(pipeline, solver, [12], 3.0, start, strength)
    expected = theirs(StableDiffusionImg2ImgPipeline, pipeline, solver, 12, 3.0, image=start, strength=strength)
    assert np.abs(made - expected).max() <= 1
    assert strength == 1 or np.abs(made - ours(pipeline, solver, [12], 3.0).astype(float)).max() > 2


@pytest.mark.parametrize("solver", ["unipc", "lcm"])
def test_an_image_is_the_same_in_any_batch(pipeline, solver):
    """One that draws while it steps, too."""
    seeds = [3, 1, 4, 15, 9, 2, 6]
    whole = ours(pipeline, solver, seeds, 3.0).astype(int)
    alone = np.concatenate([ours(pipeline, solver, [seed], 3.0) for seed in seeds[::3]])
    assert np.abs(whole[::3] - alone).max() <= 2
    assert min(np.abs(whole[0] - other).max() for other in whole[1:]) > 2


def test_guidance_that_was_distilled_into_a_unet_is_embedded_as_diffusers_does(pipeline):
    unet = type("Unet", (), {"config": type("Config", (), {"time_cond_proj_dim": 32})})
    embedded = solving._guidance_embedding(unet, 4.0, 2)
    expected = pipeline.get_guidance_scale_embedding(torch.tensor([3.0, 3.0]), embedding_dim=32)
    assert torch.allclose(embedded, expected, atol=1e-3)  # sines of 3,000
    assert not solving.is_guided(unet, 4.0)


def test_what_cannot_be_sampled_is_refused():
    own = PNDMScheduler(**SD15)
    with pytest.raises(SpecError, match=r"leaves no step to make.*strength=0.100"):
        solving.plan(own, "unipc", 10, 0.05)
    with pytest.raises(SpecError, match="solver='lcm', sampling_steps=60"):
        solving.plan(own, "lcm", 60)
