"""Best of k: the best of each sample's own candidates, whatever is drawn beside it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402

from realfake import generators  # noqa: E402
from realfake.datasets import import_dataset  # noqa: E402
from realfake.generators import best_of, pipelines, realism  # noqa: E402
from realfake.samples import class_counts, image_seeds, load, load_dataset, pool_labels  # noqa: E402
from realfake.spec import BestOf, Dataset, External, Subset, address  # noqa: E402
from realfake.store import StoreError  # noqa: E402
from realfake.tasks.feature_networks import trial_features  # noqa: E402
from realfake.tasks.models import build_model  # noqa: E402
from realfake.values import SpecError  # noqa: E402
from tests import tiny, tiny_open_set  # noqa: E402
from tests.tiny_open_set import WORDS, drawn, open_set, pool, store  # noqa: E402

CRITIC = tiny.trial(seed=77)
K = 3
POOLED = (Subset(of=pool(), size=5),)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    whole = tiny_open_set.pipeline()
    monkeypatch.setattr(pipelines, "load_pipeline", lambda *_: whole)


@pytest.fixture(scope="module")
def critic():
    """A classifier with random weights, in the store as a made trial is."""
    torch.manual_seed(3)
    model = build_model(tiny.RECIPE, 10, 1, 8)
    with store().making(CRITIC) as (folder, result):
        save_file({name: part.contiguous() for name, part in model.state_dict().items()}, folder / "model.safetensors")
        result |= {"status": "ok"}
    return model.eval()


def candidates(asked, n):
    """All candidates (k, n, 8, 8, 1) of the first samples, with the seeds that the docstring promises."""
    loaded = generators.load_generator(asked.generator.generator, store())
    labels = pool_labels(asked, 0, n, class_counts(store(), asked))
    seeds = image_seeds(asked, 0, n)
    inputs = asked.generator.generator, loaded, asked, labels
    made = [generators._draw(*inputs, best_of.candidate_seeds(seeds, j), range(n)).images for j in range(K)]
    return labels, np.stack(made)


def test_the_kept_one_has_the_largest_probability_of_the_asked_class(critic):
    asked = pool(BestOf(generator=open_set(), k=K, critic=CRITIC))
    labels, made = candidates(asked, 8)
    with torch.no_grad():
        pixels = torch.from_numpy(made.reshape(-1, 8, 8, 1)).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(critic.pretrained_cfg[key]).mean() for key in ("mean", "std"))
        probabilities = critic((pixels - mean) / std).softmax(dim=1).reshape(K, 8, 10).numpy()
    asked_for = np.take_along_axis(probabilities, labels[None, :, None], axis=2)[..., 0]
    kept = drawn(asked, range(8)).astype(int)
    found = [[np.abs(kept[i] - made[j, i]).max() <= 2 for j in range(K)].index(True) for i in range(8)]
    best = asked_for.max(axis=0)
    assert (asked_for[found, range(8)] > best - 2 * best_of.TIE).all()
    assert len(set(found)) > 1


def test_realism_is_the_published_score_by_a_second_implementation():
    random = np.random.default_rng(0)
    real, images = random.normal(size=(40, 5)), random.normal(size=(12, 5))
    radii = np.array([np.sort(np.linalg.norm(real - one, axis=1))[3] for one in real])  # itself, and three others
    kept = radii <= np.median(radii)
    ratios = [radii[kept] / np.linalg.norm(real[kept] - image, axis=1) for image in images]
    found = realism.realism(realism.neighbourhoods(real), images)
    assert np.allclose(found, np.max(ratios, axis=1))
    same = realism.realism(realism.neighbourhoods(real), real[kept][:2])
    assert (same > 1e3).all()  # a copy is as real as can be
    with pytest.raises(ValueError, match="5 real images or more"):
        realism.neighbourhoods(real[:4])


def test_the_kept_one_is_the_most_real(critic):
    asked = pool(BestOf(generator=open_set(), k=K, by="realism score", critic=CRITIC))
    _, made = candidates(asked, 8)
    around = realism.neighbourhoods(trial_features(CRITIC, load(store(), CRITIC.real).images, store())[0])
    scores = np.stack([realism.realism(around, trial_features(CRITIC, images, store())[0]) for images in made])
    kept = drawn(asked, range(8)).astype(int)
    found = [[np.abs(kept[i] - made[j, i]).max() <= 2 for j in range(K)].index(True) for i in range(8)]
    assert (scores[found, range(8)] > scores.max(axis=0) * 0.98).all()
    assert len(set(found)) > 1
    with pytest.raises(SpecError, match="saw no real image to be near to"):
        BestOf(
            generator=open_set(), by="realism score", critic=dataclasses.replace(CRITIC, real=None, synthetic=POOLED)
        )


def test_the_kept_one_is_nearest_to_its_prompt_in_clip(monkeypatch):
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    asked = pool(BestOf(generator=open_set(), k=K, by="clip score", critic=tiny_open_set.BASE))
    labels, made = candidates(asked, 6)
    clip = store().folder(tiny_open_set.BASE) / "clip"
    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), CLIPTokenizer.from_pretrained(clip)
    words = tokenizer([f"a photo of a {WORDS.names[c]}" for c in labels], padding="max_length", return_tensors="pt")
    scores = []
    for images in made:
        pixels = CLIPImageProcessor.from_pretrained(clip)(list(images.repeat(3, axis=3)), return_tensors="pt")
        with torch.no_grad():
            logits = model(**words, **pixels).logits_per_image / model.logit_scale.exp()
        scores.append(np.diagonal(logits.numpy()))
    scores = np.stack(scores)
    kept = drawn(asked, range(6)).astype(int)
    found = [[np.abs(kept[i] - made[j, i]).max() <= 2 for j in range(K)].index(True) for i in range(6)]
    assert (scores[found, range(6)] > scores.max(axis=0) - 2 * best_of.TIE).all()


def test_a_clip_model_of_a_folder_gives_the_same_scores_as_the_same_model_beside_a_pipeline():
    folder = store().folder(tiny_open_set.BASE) / "clip"
    made = drawn(pool(), range(3))
    texts = ["a photo of a two"] * 3
    own = best_of._clip(tiny_open_set.BASE, store(), "cpu", {})
    other = best_of._clip(External(name="clip"), store(), "cpu", {"clip": folder})
    assert np.array_equal(own(made, np.zeros(3, int), texts), other(made, np.zeros(3, int), texts))
    assert (np.abs(own(made, np.zeros(3, int), texts)) <= 1).all()
    with pytest.raises(SpecError, match=r"no CLIP model can be loaded from .*nowhere"):
        best_of._clip(External(name="clip"), store(), "cpu", {"clip": folder / "nowhere"})


def test_a_prefix_stays_a_prefix(critic):
    asked = pool(BestOf(generator=open_set(), k=K, critic=CRITIC))
    whole = drawn(asked, range(6)).astype(int)
    assert np.abs(whole[:2] - drawn(asked, range(2))).max() <= 2
    assert np.abs(whole[4:5] - drawn(asked, [4])).max() <= 2


def chosen(scores):
    """Which candidate of one sample is kept, when candidate j has the score at j."""
    loaded = SimpleNamespace(generator=SimpleNamespace(k=len(scores), critic=CRITIC), inner=None)
    order = iter(range(len(scores)))
    loaded.score = lambda images, labels, texts: np.array([scores[images[0, 0, 0, 0]]])
    made = best_of.draw(loaded, None, [0], [1], [0], lambda *_: np.full((1, 1, 1, 1), next(order), np.uint8))
    return int(made.images[0, 0, 0, 0])


def test_the_first_of_equals_is_kept_and_rounding_does_not_choose():
    assert chosen([0.2, 0.9, 0.5]) == 1
    assert chosen([0.5, 0.5, 0.5]) == 0
    assert chosen([0.5, 0.5 + 1e-6, 0.2]) == 0
    assert chosen([float("nan"), 0.1, 0.2]) == 2
    assert chosen([float("nan"), float("nan")]) == 0


def test_every_candidate_has_its_own_seed_and_the_first_ones_stay():
    seeds = [5, 6]
    drawn_seeds = [best_of.candidate_seeds(seeds, j) for j in range(4)]
    assert len({seed for row in drawn_seeds for seed in row}) == 8
    assert [row[0] for row in drawn_seeds] == [best_of.candidate_seeds([5], j)[0] for j in range(4)]


def test_what_it_costs_and_whose_real_images_leak_is_said(critic):
    seen = tiny.trial(seed=81)
    with store().making(seen) as (_, result):
        result |= {"status": "ok", "real_budget": 50}
    by_trial = best_of.facts(BestOf(generator=open_set(), k=4, critic=seen), store())
    assert by_trial == {
        **{"candidates_per_kept": 4, "chosen_by": "class consistency", "critic": address(seen)},
        **{"critic_real_budget": 50, "critic_external_budget": 0},
    }
    clip = BestOf(generator=open_set(), k=2, by="clip score", critic=tiny_open_set.BASE)
    found = best_of.facts(clip, store())
    assert (found["critic_real_budget"], found["critic_external_budget"]) == (0, 20)
    unknown = BestOf(generator=open_set(), by="clip score", critic=External(name="a-clip"))
    assert best_of.facts(unknown, store())["critic_external_budget"] is None


def test_critics_that_do_not_fit_are_refused(critic):
    with pytest.raises(StoreError, match="is not made"):
        drawn(pool(BestOf(generator=open_set(), critic=tiny.trial(seed=78))))
    larger = Dataset(name="digits", pixels=16)
    import_dataset(larger, store())
    with pytest.raises(SpecError, match=r"tested on images of \(8, 8, 1\)"):
        drawn(pool(BestOf(generator=open_set(like=larger), critic=CRITIC)))
    other = Dataset(name="other", split="test")
    if store().record(other) is None:
        from realfake import samples

        few = load_dataset(store(), tiny.TEST).take(slice(0, 20))
        with store().making(other) as (folder, result):
            samples.write_table(samples.to_table(few.images, few.labels, few.ids), folder / "0.parquet")
            result |= {"classes": [f"class {i}" for i in range(10)], "n": 20}
    strange = tiny.trial(test=other, seed=79)
    with store().making(strange) as (_, result):
        result |= {"status": "ok"}
    with pytest.raises(SpecError, match="tells class 0, class 1"):
        drawn(pool(BestOf(generator=open_set(), critic=strange)))


def test_a_diverged_critic_is_refused():
    diverged = tiny.trial(seed=80)
    with store().making(diverged) as (_, result):
        result |= {"status": "diverged", "step": 3}
    with pytest.raises(StoreError, match="diverged, and knows no class"):
        drawn(pool(BestOf(generator=open_set(), critic=diverged)))


def test_the_pipeline_of_a_critic_is_whole():
    assert pipelines.load_pipeline(tiny_open_set.BASE, store()).image_encoder is not None
