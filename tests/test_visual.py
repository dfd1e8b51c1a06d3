"""Visual guidance: whose embedding stands in which row, and what the branch without words attends to."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from realfake.alignment import VisualGuidance  # noqa: E402
from realfake.generators import visual  # noqa: E402
from realfake.values import SpecError  # noqa: E402
from tests import tiny, tiny_open_set  # noqa: E402

MODES = ("instance", "class mean", "class sample")


def found(n=30, width=32, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pipeline():
    return tiny_open_set.pipeline()


@pytest.mark.parametrize("n", [1, 2, 24])
def test_row_i_of_the_tokens_is_embedding_i(n):
    embedded, labels = found(), np.zeros(30, int)
    tokens = visual.tokens(embedded, labels, VisualGuidance(), np.arange(n), [0] * n)
    states = visual.inject(torch.zeros(n, 77, 32), tokens, VisualGuidance())
    for row in range(n):
        assert torch.equal(tokens[row], embedded[row])
        assert torch.equal(states[row, -1], embedded[row])


def released(tokens):
    """What the released sampler did (realfake.md 1.4): stacked along dimension 1, then viewed instead of transposed."""
    return torch.stack(list(tokens), dim=1).view(len(tokens), 1, -1)


def test_the_released_scramble_mixes_images_and_ours_does_not():
    embedded = found(4)
    assert torch.equal(released(embedded[:1])[:, 0], embedded[:1])  # one image was right
    mixed = released(embedded)[:, 0]
    assert torch.equal(mixed[0, :5], torch.tensor([*embedded[:, 0], embedded[0, 1]]))
    ours = visual.inject(torch.zeros(4, 77, 32), embedded, VisualGuidance())[:, -1]
    assert torch.equal(ours, embedded)
    assert not torch.isclose(ours, mixed).all(dim=1).any()


def test_embeddings_are_those_of_each_image_alone_and_of_transformers_own_call(pipeline):
    images = tiny.digits().images[:5]
    ours = visual.embeddings(pipeline, images, VisualGuidance())
    for row, image in enumerate(images):
        alone = pipeline.feature_extractor(np.repeat(image, 3, axis=2), return_tensors="pt")
        expected = pipeline.image_encoder(**alone).image_embeds[0]
        assert torch.allclose(ours[row], expected, atol=1e-5)
    assert not np.isclose(ours.norm(dim=1), 1, atol=1e-3).any()  # projected, not normalised


def test_a_class_mean_is_of_that_class_alone():
    embedded, labels, mean = found(), np.arange(30) % 3, VisualGuidance(of="class mean")
    tokens = visual.tokens(embedded, labels, mean, np.array([4, 2]), [0, 0])
    assert torch.allclose(tokens[0], embedded[labels == 1].mean(dim=0))
    assert torch.allclose(tokens[1], embedded[labels == 2].mean(dim=0))
    other = embedded.clone()
    other[labels == 0] += 7
    assert torch.equal(visual.tokens(other, labels, mean, np.array([4, 2]), [0, 0]), tokens)


def test_a_class_sample_is_drawn_by_its_own_seed_and_never_by_its_batch():
    embedded, labels, sample = found(), np.arange(30) % 3, VisualGuidance(of="class sample")
    rows, seeds = np.arange(24), list(range(100, 124))
    whole = visual.tokens(embedded, labels, sample, rows, seeds)
    for row in (0, 5, 23):
        alone = visual.tokens(embedded, labels, sample, rows[row : row + 1], seeds[row : row + 1])
        assert torch.equal(alone[0], whole[row])
    drawn = visual.sources(sample, labels, rows, seeds)
    assert (labels[drawn] == labels[rows]).all()
    assert (drawn != rows).all()
    many = visual.sources(sample, labels, np.zeros(1800, int), list(range(1800)))
    counts = np.bincount(many, minlength=30)[labels == 0]
    assert counts[0] == 0
    assert abs(counts[1:] - 200).max() < 60  # nine others, 200 times each: four deviations of 13.3


def test_of_a_class_of_one_image_it_is_that_image():
    labels = np.array([0, 1, 1])
    assert visual.sources(VisualGuidance(of="class sample"), labels, np.array([0]), [5]).tolist() == [0]


def test_injection_replaces_appends_or_projects():
    states, tokens = torch.randn(3, 77, 32), found(3)
    last = visual.inject(states, tokens, VisualGuidance())
    assert last.shape == (3, 77, 32)
    assert torch.equal(last[:, :-1], states[:, :-1])
    appended = visual.inject(states, tokens, VisualGuidance(injection="append"))
    assert appended.shape == (3, 78, 32)
    assert torch.equal(appended[:, :-1], states)
    projection = visual.new_projection(8, 32, seed=1)
    projected = visual.inject(states, found(3, 8), VisualGuidance(injection="projection"), projection)
    assert torch.equal(projected[:, -1], projection(found(3, 8)))


def test_embeddings_of_another_width_need_a_learned_projection():
    with pytest.raises(SpecError, match="8 values do not fit word states of 32"):
        visual.inject(torch.zeros(1, 77, 32), torch.zeros(1, 8), VisualGuidance())
    with pytest.raises(SpecError, match="learned with an adapter"):
        visual.inject(torch.zeros(1, 77, 32), torch.zeros(1, 8), VisualGuidance(injection="projection"))


def test_a_projection_comes_back_from_its_file(tmp_path):
    assert visual.load_projection(tmp_path) is None
    projection = visual.new_projection(8, 32, seed=1)
    visual.save_projection(tmp_path, projection)
    back = visual.load_projection(tmp_path)
    assert torch.equal(back(found(3, 8)), projection(found(3, 8)))
    assert torch.equal(visual.new_projection(8, 32, seed=1).weight, projection.weight)


@torch.inference_mode()
def test_both_branches_in_one_batch_are_what_each_is_alone(pipeline):
    random = torch.Generator().manual_seed(0)
    asked, negative = torch.randn(2, 78, 32, generator=random), torch.randn(2, 77, 32, generator=random)
    latents, time = torch.randn(2, 4, 8, 8, generator=random), torch.tensor(300)
    states, mask = visual.with_null(asked, negative)
    both = pipeline.unet(torch.cat([latents, latents]), time, states, encoder_attention_mask=mask).sample
    assert torch.allclose(both[:2], pipeline.unet(latents, time, negative).sample, atol=1e-3)
    assert torch.allclose(both[2:], pipeline.unet(latents, time, asked).sample, atol=1e-3)
    assert mask.tolist() == [[1.0] * 77 + [0.0]] * 2 + [[1.0] * 78] * 2  # the filling, and only that
    assert visual.with_null(negative, negative)[1] is None


def test_a_pipeline_without_an_image_encoder_says_what_to_give(pipeline):
    class Blind:
        image_encoder = None

    with pytest.raises(SpecError, match="no image encoder of its own"):
        visual.encoder_of(Blind(), VisualGuidance(), {})
