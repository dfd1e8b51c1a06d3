"""The files of a pretrained Stable Diffusion, 1.x, 2.x or XL: which there must be, where they lie, and their hash.

A pipeline is a folder in diffusers' format: ``model_index.json`` and one folder a part. Only safetensors are read: a
pickle can run code. Building the pipeline is in ``pipelines``; nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realfake.outside import External
from realfake.values import SpecError

PARTS = {  # what a pipeline of one text encoder is made of: the classes that each part may have
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "scheduler": (),  # any of diffusers'
}
SECOND = {"text_encoder_2": ("CLIPTextModelWithProjection",), "tokenizer_2": PARTS["tokenizer"]}  # where it is an XL
VISION = {"image_encoder": ("CLIPVisionModelWithProjection",), "feature_extractor": ()}  # where there are any
STEMS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model", "text_encoder": "model"}
STEMS |= {"text_encoder_2": "model", "image_encoder": "model"}
CONFIGS = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}
INDEX = "model_index.json"
ENDINGS = ("*.json", "*.txt", "model.safetensors", "diffusion_pytorch_model.safetensors", "*-of-*.safetensors")
NEEDED = (
    "model_index.json and the .json, .txt and .safetensors files of scheduler, text_encoder, tokenizer, unet, vae, and "
    "of an XL text_encoder_2 and tokenizer_2"
)
KNOWN = "a Stable Diffusion 1.x, 2.x or XL"
CHUNK = 1 << 22


class PipelineError(SpecError):
    """A pretrained pipeline that is not there, not whole or of another kind; the message says which, and the cure."""


def find_folder(base: External, weights: Mapping[str, Path]) -> Path:
    """Return the folder of a pipeline: where ``weights`` says by name or fingerprint, else of the Hugging Face hub.

    Raises PipelineError when there is none, it is not whole, or its ``fingerprint`` is another.
    """
    given = weights.get(base.name) or weights.get(base.fingerprint)
    folder = Path(given).expanduser() if given else of_hub(base.name)
    if given and not (folder / INDEX).is_file():
        raise PipelineError(
            f"{base.name!r}: {folder} holds no {INDEX}; put a folder of diffusers' format there, or correct the path "
            "under [data] in the --on file"
        )
    if base.fingerprint and (found := fingerprint(folder)) != base.fingerprint:
        raise PipelineError(
            f"{base.name!r}: the files of {folder} have the fingerprint {found[:12]}… and the spec says "
            f"{base.fingerprint[:12]}…; other weights: correct the path in the --on file or External.fingerprint"
        )
    return folder


def of_hub(name: str) -> Path:
    """Return the folder that the Hugging Face cache has of a hub id, fetched if there is a network.

    Raises PipelineError that says which files are needed and how to bring them here.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted = [INDEX, *(f"{part}/{ending}" for part in (*PARTS, *SECOND, *VISION) for ending in ENDINGS)]
    cached = None
    try:
        cached = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        files_of(cached)
        return cached
    except (OSError, ValueError):
        pass  # not in the cache, or only a part of it
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        if cached is not None:
            files_of(cached)  # says which of its files is missing
        raise out_of_reach(name, repr(name), error, f" (needed are {NEEDED})") from error


def out_of_reach(name: str, what: str, error: Exception, needed: str = "") -> PipelineError:
    """Return the sentence for weights of a hub that are neither in the cache nor can be fetched."""
    why = str(error).strip().split("\n")[0]
    return PipelineError(
        f"{what} is not in the Hugging Face cache and cannot be fetched here ({why}); where there is a network, "
        f"type `hf download {name} --local-dir FOLDER`{needed}, bring FOLDER here, and write "
        f'"{name}" = "FOLDER" under [data] in the --on file'
    )


def parts_of(folder: Path) -> dict[str, str]:
    """Return the class of each part of a pipeline, by its ``model_index.json``.

    Raises PipelineError when it is no Stable Diffusion with a text encoder, or two in XL: an XL refiner has only the
    second.
    """
    index = _index(folder)
    found = {part: kind[1] for part, kind in index.items() if isinstance(kind, list) and kind[1]}
    pipeline = index.get("_class_name", "a pipeline")
    optional = {part: VISION[part] for part in VISION if part in found}
    wanted = {**PARTS, **(SECOND if "text_encoder_2" in found else {}), **optional}
    for part, classes in wanted.items():
        if part not in found or (classes and found[part] not in classes):
            raise PipelineError(
                f"{folder} is a {pipeline} whose {part} is {found.get(part, 'missing')}, not "
                f"{' or '.join(classes) or 'there'}; give {KNOWN} base"
            )
    kept = {part: kind for part, kind in found.items() if part in wanted}
    if "image_encoder" not in kept:
        kept.pop("feature_extractor", None)  # it was the safety checker's
    return kept


def empties_are_zeros(folder: Path) -> bool:
    """Tell whether an XL was trained with zeros for no words at all, as its ``model_index.json`` says."""
    return bool(_index(folder).get("force_zeros_for_empty_prompt", True))  # diffusers' default


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError:
        raise PipelineError(f"{folder} holds no {INDEX}; give a folder of diffusers' format") from None
    except ValueError:
        index = None
    if not isinstance(index, dict) or any(isinstance(kind, list) and len(kind) < 2 for kind in index.values()):
        raise PipelineError(f"{folder / INDEX} cannot be read; fetch it again")
    return index


def files_of(folder: Path) -> tuple[list[Path], str | None]:
    """Return the files that are read of a pipeline, and "fp16" where there are only those weights.

    Raises PipelineError that names the first that is missing.
    """
    files, halves = [folder / INDEX], []
    for part in parts_of(folder):
        if part in ("tokenizer", "tokenizer_2"):
            files += _words(folder / part)
            continue
        files.append(_there(folder / part / CONFIGS.get(part, "config.json")))
        if part in STEMS:
            found, half = _weights(folder / part, STEMS[part])
            files += found
            halves.append(half)
    return files, "fp16" if any(halves) else None


def fingerprint(folder: Path) -> str:
    """Return the sha256 of the lines "sha256  part/file" of all files that are read, in the order of their names."""
    return hashed(folder, files_of(folder)[0])


def hashed(folder: Path, files: Sequence[Path]) -> str:
    """Return the sha256 of the lines "sha256  name" of files in a folder, in the order of their names."""
    lines = sorted((file.relative_to(folder).as_posix(), _sha256(file)) for file in files)
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()


def _weights(folder: Path, stem: str) -> tuple[list[Path], bool]:
    """Return the weights files of one part, and whether they are of half precision."""
    whole, half = folder / f"{stem}.safetensors", folder / f"{stem}.fp16.safetensors"
    if whole.is_file():
        return [whole], False
    if (shards := folder / f"{stem}.safetensors.index.json").is_file():
        names = sorted(set(json.loads(shards.read_text())["weight_map"].values()))
        return [shards, *(_there(folder / name) for name in names)], False
    if half.is_file():
        return [half], True
    pickles = sorted((*folder.glob("*.bin"), *folder.glob("*.ckpt")))
    if pickles:
        raise PipelineError(
            f"{folder} has only a pickle ({pickles[0].name}), which can run code as it is read; if you trust it, type "
            "`python -c \"from diffusers import StableDiffusionPipeline as P; P.from_pretrained('OLD', "
            "use_safetensors=False).save_pretrained('NEW')\"` and give the new folder"
        )
    return [_there(whole)], False


def _words(folder: Path) -> list[Path]:
    """Return the files of a tokenizer: all in one, or its words and its merges."""
    if (one := folder / "tokenizer.json").is_file():
        return [one]
    return [_there(folder / "vocab.json"), _there(folder / "merges.txt")]


def _there(file: Path) -> Path:
    if not file.is_file():
        raise PipelineError(f"the pipeline lacks {file}; it was copied in part: fetch this file too")
    return file


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
