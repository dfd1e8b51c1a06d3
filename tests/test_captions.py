"""Captions: those that lie in Parquet files or beside images, kept with their images, and those that a model writes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realfake import datasets, naming, samples
from realfake.alignment import Captions, Prompts
from realfake.folders import fingerprint
from realfake.kinds import OpenSet, Pretrained
from realfake.samples import joined, load
from realfake.shards import encode
from realfake.sources import DatasetError
from realfake.spec import Dataset, External, Pool, Recipe, Subset, Trial
from realfake.store import Store
from realfake.values import SpecError

MAIN = SimpleNamespace(is_main_process=True, device="cpu")


def image(i):
    return np.random.default_rng(i).integers(0, 255, (6, 6, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Twenty images of two classes, train and test."""
    for i in range(20):
        place = tmp_path / "images" / ("test" if i % 5 == 4 else "train") / ("ant" if i % 2 else "bee")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(i)).save(place / f"{i}.png")
    return tmp_path / "images"


def imported(folder, root, name="imagefolder", split="train"):
    dataset = Dataset(name=name, split=split, fingerprint=fingerprint(folder, name))
    store = Store(root)
    datasets.import_dataset(dataset, store, {dataset.fingerprint: folder})
    return store, dataset


def beside_as(kind, folder):
    """Write the caption of every image beside it in one of the ways, and return them by the image's bytes."""
    files = sorted(folder.rglob("*.png"))
    said = {file: f"insect number {file.stem}" for file in files}
    for split in ("train", "test"):
        rows = [{"file_name": file.relative_to(folder / split).as_posix(), "text": said[file]} for file in files
                if split in file.parts]  # fmt: skip
        if kind == "metadata.jsonl":
            (folder / split / kind).write_text("".join(json.dumps(row) + "\n" for row in rows))
        if kind == "captions.csv":
            lines = [f'{row["file_name"]},"{row["text"]}"' for row in rows]
            (folder / split / kind).write_text("\n".join(["file_name,caption", *lines]))
    if kind == "txt":
        for file in files:
            file.with_suffix(".txt").write_text(f" {said[file]}\n")
    return {np.asarray(Image.open(file)).tobytes(): text for file, text in said.items()}


@pytest.mark.parametrize("kind", ["metadata.jsonl", "captions.csv", "txt"])
def test_captions_beside_images_come_with_them(folder, tmp_path, kind):
    bare = fingerprint(folder)
    said = beside_as(kind, folder)
    store, dataset = imported(folder, tmp_path / "store")
    assert dataset.fingerprint != bare  # other words are another set
    found = load(store, Subset(of=dataset, size=7, seed=3))
    assert found.captions == tuple(said[one.tobytes()] for one in found.images)


def test_captions_of_parquet_files_are_a_column(tmp_path):
    rows = {"image": [encode(image(i)) for i in range(8)], "label": [i % 2 for i in range(8)]}
    for split in ("train", "test"):
        shifted = [encode(image(i + 100 * (split == "test"))) for i in range(8)]
        table = pa.table({**rows, "image": shifted, "text": [f"{split} {i}" if i else None for i in range(8)]})
        (tmp_path / "files").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "files" / f"{split}.parquet")
    store, dataset = imported(tmp_path / "files", tmp_path / "store", "parquet")
    found = samples.load_dataset(store, dataset)
    assert found.captions == ("", *(f"train {i}" for i in range(1, 8)))


def test_sets_without_captions_are_the_same_bytes_as_ever(folder, tmp_path):
    (folder / "train" / "notes.txt").write_text("not a caption of any image")
    (folder / "train" / "metadata.jsonl").write_text('{"file_name": "bee/0.png", "licence": "none"}')
    before = fingerprint(folder)
    (folder / "train" / "notes.txt").unlink()
    (folder / "train" / "metadata.jsonl").unlink()
    assert fingerprint(folder) == before
    store, dataset = imported(folder, tmp_path / "store")
    assert samples.load_dataset(store, dataset).captions is None
    plain = samples.to_table(np.stack([image(0)]), np.zeros(1, int), np.arange(1))
    assert plain.column_names == ["id", "image", "label", "sha256"]
    said = samples.to_table(np.stack([image(0)]), np.zeros(1, int), np.arange(1), captions=["an ant"])
    assert said["sha256"] != plain["sha256"]


def test_a_changed_caption_is_a_corrupt_shard(tmp_path):
    table = samples.to_table(np.stack([image(0)]), np.zeros(1, int), np.arange(1), captions=["an ant"])
    other = table.set_column(table.column_names.index("caption"), samples.to_table(
        np.stack([image(0)]), np.zeros(1, int), np.arange(1), captions=["a bee"]).schema.field("caption"), [["a bee"]],
    )  # fmt: skip
    samples.write_table(other, tmp_path / "0.parquet")
    with pytest.raises(samples.CorruptShard):
        samples.read_table(tmp_path / "0.parquet")


def test_captions_follow_their_images():
    images = np.stack([image(i) for i in range(4)])
    made = samples.Samples(images, np.zeros(4, int), np.arange(4), ("a",), captions=tuple("abcd"))
    assert made.take(np.array([2, 0])).captions == ("c", "a")
    assert made.take(slice(1, 3)).captions == ("b", "c")
    assert joined([made, made.take(slice(0, 1))]).captions == tuple("abcda")
    assert joined([made, replace(made, captions=None)]).captions is None


def test_captions_of_other_images_and_of_two_minds_are_refused(folder):
    table = folder / "train" / "captions.csv"
    table.write_text("file_name,caption\nbee/99.png,nobody")
    with pytest.raises(DatasetError, match=r"caption for 99.png, which is no image here"):
        datasets.folders.image_folder(folder)
    table.write_text("file_name,caption\nbee/0.png,a bee")
    (folder / "train" / "bee" / "0.txt").write_text("a wasp")
    with pytest.raises(DatasetError, match=r"0\.png has two captions"):
        datasets.folders.image_folder(folder)
    (folder / "train" / "metadata.jsonl").write_text("{")
    with pytest.raises(DatasetError, match="no table that can be read"):
        datasets.folders.image_folder(folder)


# ---------------------------------------------------------------------------------------------------------- the stage


def some(captions=None):
    images = np.stack([image(i) for i in range(5)])
    return samples.Samples(images, np.zeros(5, int), np.arange(10, 15), ("a",), captions=captions)


def fit(spec, real, root):
    pytest.importorskip("torch")
    from realfake.generators import captioning

    store = Store(root)
    with store.making(spec) as (folder, result):
        result |= captioning.fit(spec, real, folder, lambda progress: None, accelerator=MAIN, weights=WEIGHTS)
    return captioning.load(spec, store), result


WEIGHTS = {}
OF = Subset(of=Dataset(name="tiny"), size=5)


def test_given_captions_are_kept_by_the_ids_of_their_images(tmp_path):
    found, facts = fit(Captions(of=OF), some(("one", "two", "one", "four words are here", "five")), tmp_path)
    assert found == {10: "one", 11: "two", 12: "one", 13: "four words are here", 14: "five"}
    assert (facts["n_captions"], facts["distinct_captions"], facts["mean_words"]) == (5, 4, 1.6)


def test_images_without_captions_need_a_model(tmp_path):
    with pytest.raises(SpecError, match="came without captions"):
        fit(Captions(of=OF), some(), tmp_path)
    with pytest.raises(SpecError, match=r"2 of 5 images have none \(the first is number 11\)"):
        fit(Captions(of=OF), some(("a", "", "b", " ", "c")), tmp_path)


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """A BLIP with random weights and thirty words, saved as transformers saves it."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *"abcdefghijklmnopqrstuvwx"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **size,
        "vocab_size": len(words),
        "bos_token_id": 5,
        "pad_token_id": 0,
        "eos_token_id": 3,
        "sep_token_id": 3,
    }
    torch.manual_seed(0)
    config = transformers.BlipConfig(
        text_config={**text, "encoder_hidden_size": 16, "max_position_embeddings": 64},
        vision_config={**size, "image_size": 16, "patch_size": 8},
    )
    model = transformers.BlipForConditionalGeneration(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)  # or all images look alike to it
    model.save_pretrained(folder)
    processor = transformers.BlipImageProcessor(size={"height": 16, "width": 16})
    transformers.BlipProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def test_a_captioning_model_writes_what_transformers_own_call_writes(blip, tmp_path, monkeypatch):
    import torch
    import transformers

    monkeypatch.setitem(WEIGHTS, "blip", blip)
    real = some()
    found, facts = fit(Captions(of=OF, model=External(name="blip")), real, tmp_path)
    model = transformers.BlipForConditionalGeneration.from_pretrained(blip).eval()
    processor = transformers.BlipProcessor.from_pretrained(blip)
    for i, one in zip(real.ids, real.images, strict=True):
        with torch.no_grad():
            pixels = processor(images=Image.fromarray(one), return_tensors="pt")
            tokens = model.generate(**pixels, do_sample=False, max_new_tokens=40)
        assert found[int(i)] == " ".join(processor.decode(tokens[0], skip_special_tokens=True).split())
    assert facts["n_captions"] == 5
    assert facts["distinct_captions"] > 1


def test_a_model_that_is_not_there_says_how_to_bring_it(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setitem(WEIGHTS, "blip", tmp_path / "nowhere")
    with pytest.raises(SpecError, match="hf download Salesforce/blip-image-captioning-base"):
        fit(Captions(of=OF, model=External(name="blip")), some(), tmp_path)


def test_captions_of_each_draw_make_no_arm_of_their_own():
    digits = Dataset(name="digits"), Dataset(name="digits", split="test")

    def trial(seed):
        real = Subset(of=digits[0], size=50, seed=seed)
        base = Pretrained(real=Subset(of=Dataset(name="mnist5k"), size=100))
        generator = OpenSet(base=base, real=real, prompts=Prompts(captions=Captions(of=real)))
        images = Subset(of=Pool(generator=generator, seed=seed), size=100)
        return Trial(real=real, synthetic=(images,), test=digits[1], recipe=Recipe(examples_seen=100), seed=seed)

    assert len(set(naming.arms(tuple(trial(seed) for seed in range(3))).values())) == 1
