"""The diffusion transformer: against the paper's sizes and diffusers' own model, and as a denoiser that is fitted."""

import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from diffusers.models.embeddings import Timesteps
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel

from realfake import generators
from realfake.generators import closed_set
from realfake.generators.denoiser import Denoiser
from realfake.generators.networks import NETWORKS, Network
from realfake.generators.transformer import Transformer
from realfake.samples import Samples
from realfake.values import SpecError
from tests import tiny

SMALL = Network(architecture="dit", widths=(32,), layers=2, patch=2, head=16)


def drawn(classes=3, side=8, network=SMALL):
    """Return a transformer none of whose weights is zero."""
    torch.manual_seed(0)
    transformer = Transformer(network, side, 1, classes)
    for part in transformer.parameters():
        torch.nn.init.normal_(part, std=0.2)
    return transformer


def inputs(classes=3, side=8):
    return (
        torch.randn(5, 1, side, side),
        torch.tensor([-700.0, 3.0, 0.5, 250.0, 999.0]),
        torch.arange(5) % (classes + 1),
    )


@pytest.mark.parametrize(("name", "millions"), [("dit-s", 33), ("dit-b", 130), ("dit-s-64", 33), ("dit-b-64", 130)])
def test_the_published_sizes_have_the_published_parameters(name, millions):
    """Peebles & Xie 2022, table 1: 33 and 130 million, for 1000 classes and four channels of 32 × 32."""
    with torch.device("meta"):
        denoiser = Denoiser(NETWORKS[name], (32, 32, 4), 1000)
    assert sum(part.numel() for part in denoiser.parameters()) / 1e6 == pytest.approx(millions, abs=0.6)


def test_it_computes_what_diffusers_does_with_an_embedder_in_every_block():
    ours, classes = drawn().eval(), 3
    ours.times = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=1)  # the frequencies of diffusers' model
    theirs = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=1,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=classes,
    ).eval()
    theirs.load_state_dict(ours.body.state_dict(), strict=False)
    for block in theirs.transformer_blocks:
        block.norm1.emb.timestep_embedder.load_state_dict(ours.time_embedding.state_dict())
        block.norm1.emb.class_embedder.embedding_table.load_state_dict(ours.label_embedding.state_dict())
    x, times, labels = inputs()
    with torch.no_grad():
        expected = theirs(x, timestep=times, class_labels=labels).sample
        torch.testing.assert_close(ours(x, times, labels), expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1


def test_while_training_it_drops_no_label_and_draws_nothing():
    transformer, given = drawn().train(), inputs()
    before = torch.get_rng_state()
    outputs = [transformer(*given) for _ in range(20)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(outputs[0], other) for other in outputs)


def test_a_new_network_returns_nothing_and_a_label_matters():
    assert not Transformer(SMALL, 8, 1, 3)(*inputs()).any()
    transformer, (x, times, _) = drawn(), inputs()
    each = [transformer(x, times, torch.full((5,), label)) for label in range(4)]
    assert not any(torch.allclose(each[0], other, atol=1e-3) for other in each[1:])


def test_oblong_images_are_padded_to_a_square():
    assert SMALL.margins(15, 18) == (0, 0, 1, 2)
    assert SMALL.margins(8, 5) == (1, 2, 0, 0)
    assert SMALL.margins(8, 8) == (0, 0, 0, 0)
    x = torch.randn(2, 3, 15, 18)
    assert Denoiser(SMALL, (15, 18, 3), 2)(x, torch.zeros(2), torch.tensor([0, 2])).shape == x.shape


def test_a_width_that_heads_do_not_share_is_refused():
    for widths in ((40,), (32, 64)):
        with pytest.raises(SpecError, match="a transformer has one width, a multiple of"):
            Network(architecture="dit", widths=widths, head=16)


def fitted(folder, network="dit-small", steps=3):
    folder.mkdir(exist_ok=True)
    AcceleratorState._reset_state(reset_partial_state=True)  # another test's, which may compute in bf16
    GradientState._reset_state()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 10, 8, 1), dtype=np.uint8)
    samples = Samples(images, np.arange(20) % 3, np.arange(20), ("a", "b", "c"))
    spec = tiny.closed_set(network=network, steps=steps)
    generators.fit(spec, samples, folder, lambda event: None, accelerator=Accelerator(cpu=True))
    return closed_set.sample(closed_set.load(spec, folder, "cpu"), [0, 1, 2], [1, 2, 3], guidance=2.0, sampling_steps=3)


def test_it_is_fitted_and_sampled_as_any_denoiser(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "dit-small", SMALL)
    images = fitted(tmp_path / "a")
    assert images.shape == (3, 10, 8, 1)
    np.testing.assert_array_equal(images, fitted(tmp_path / "b"))
    assert (tmp_path / "a" / closed_set.WEIGHTS).read_bytes() == (tmp_path / "b" / closed_set.WEIGHTS).read_bytes()


def test_a_fit_from_before_there_were_transformers_is_loaded(tmp_path):
    images = fitted(tmp_path / "old", network="unet-xs", steps=1)
    path = tmp_path / "old" / closed_set.CONFIG
    config = json.loads(path.read_text())
    assert config["network"].pop("architecture") == "unet"
    assert config["network"].pop("head") == 16
    path.write_text(json.dumps(config))
    loaded = closed_set.load(tiny.closed_set(), tmp_path / "old", "cpu")
    again = closed_set.sample(loaded, [0, 1, 2], [1, 2, 3], guidance=2.0, sampling_steps=3)
    np.testing.assert_array_equal(images, again)


@pytest.mark.parametrize(("side", "sigma_max"), [(8, 40), (32, 40), (48, 60), (64, 80)])
def test_noise_is_as_strong_at_the_coarsest_in_larger_images(side, sigma_max, monkeypatch):
    """At 64 pixels it is what Karras et al. 2022 begin at; up to 32 what it always was."""
    seen, solver = [], closed_set.EDMDPMSolverMultistepScheduler
    monkeypatch.setattr(
        closed_set, "EDMDPMSolverMultistepScheduler", lambda **given: seen.append(given) or solver(**given)
    )

    class Nothing(torch.nn.Module):
        shape, classes = (side, side, 1), 2

        def forward(self, x, c_noise, labels):
            return torch.zeros_like(x)

    loaded = closed_set.Loaded(Nothing(), torch.device("cpu"))
    closed_set.sample(loaded, [0], [0], guidance=1.0, sampling_steps=1)
    assert seen[0]["sigma_max"] == sigma_max
