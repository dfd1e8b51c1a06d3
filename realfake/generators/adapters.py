"""Low-rank adapters: fresh ones in a pipeline, their files, and a pipeline that draws with them (Hu et al. 2021).

Files have the format of diffusers' ``save_lora_weights``; a learned projection for visual guidance lies beside them.
How adapters are trained is in ``lora`` and ``alignment_loop``.
"""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from realfake.generators import pseudoword, visual, xl
from realfake.generators.alignment_loop import Student, StudentXL
from realfake.generators.pipelines import pixels_of
from realfake.kinds import Lora
from realfake.values import SpecError

WEIGHTS = "pytorch_lora_weights.safetensors"
UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
ADAPTER = "aligned"
LARGE_UNET = 300_000_000  # parameters, from which on a GPU computes activations twice instead of keeping them


def new_student(spec: Lora, pipeline: Any, embedded: int) -> Student:
    """Return the pipeline's UNet with fresh adapters, and what is trained beside it; only they have gradients.

    ``embedded`` is the width of visual embeddings, 0 without.
    """
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    settings: dict[str, Any] = {"r": spec.rank, "lora_alpha": spec.alpha or spec.rank}
    unet: Any = pipeline.unet
    encoder: Any = pipeline.text_encoder if spec.text_encoder or spec.token else None
    second: Any = pipeline.text_encoder_2 if spec.text_encoder and xl.is_xl(pipeline) else None
    if spec.precision == "bf16":
        unet.to(torch.bfloat16)  # the frozen weights; what is trained stays in fp32
    if spec.rank:
        unet.add_adapter(LoraConfig(**settings, target_modules=list(UNET_LAYERS)), ADAPTER)
    if spec.text_encoder:
        settings["target_modules"] = list(TEXT_LAYERS)
        read = {"layers_to_transform": list(range(encoder.config.num_hidden_layers - 1)), "layers_pattern": "layers"}
        encoder.add_adapter(LoraConfig(**settings, **(read if second is not None else {})), ADAPTER)  # see xl.encoded
    if second is not None:
        second.add_adapter(LoraConfig(**settings), ADAPTER)
    if spec.token:
        pseudoword.teach(pipeline, spec.token)
    cast_training_params([part for part in (unet, encoder, second) if part is not None], dtype=torch.float32)
    if recomputes(unet):
        unet.enable_gradient_checkpointing()
    if xl.is_xl(pipeline):
        zeros = not spec.prompts.negative and pipeline.config.force_zeros_for_empty_prompt
        return StudentXL(unet.train(), (encoder, second), pixels_of(pipeline), zeros and spec.caption_dropout > 0)
    return Student(unet.train(), encoder, spec.visual, _projection(spec, unet, embedded), spec.caption_dropout > 0)


def _projection(spec: Lora, unet: Any, embedded: int) -> torch.nn.Module | None:
    if spec.visual is None or spec.visual.injection != "projection" or not embedded:
        return None
    return visual.new_projection(embedded, unet.config.cross_attention_dim, spec.seed).to(unet.device)


def recomputes(unet: Any) -> bool:
    """Tell whether activations are computed again for the gradient instead of kept: a large UNet on a GPU."""
    return unet.device.type == "cuda" and unet.num_parameters() >= LARGE_UNET


def initialise(student: Student, seed: int) -> None:
    """Begin anew: A from N(0, 1 / rank²), diffusers' "gaussian", and B = 0, so that an adapter changes nothing yet.

    A learned word begins where ``pseudoword`` says.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if not weight.requires_grad or name.endswith(pseudoword.ROW):
                continue
            if "lora_B" in name or name.endswith("bias"):
                weight.zero_()
            else:  # of A the rows are the rank; of the projection 1 / √width keeps the variance
                std = 1 / weight.shape[0] if "lora_A" in name else weight.shape[1] ** -0.5
                weight.copy_(torch.randn(weight.shape, generator=random) * std)
    for part in student.modules():
        if isinstance(part, pseudoword.Pseudoword):
            part.restart()


# -------------------------------------------------------------------------------------------------------------- files


def part_folder(folder: Path, spec: Lora, label: int = 0) -> Path:
    """Return where the adapter for a class, and the projection beside it, lie in the folder of a fit."""
    return folder / f"class-{label}" if spec.scope == "class" else folder


def write(folder: Path, spec: Lora, student: Student) -> None:
    """Write an adapter, and a projection and a learned word where there are such.

    alpha / rank is multiplied into B: the file means the same to readers that look for an alpha and to others.
    """
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
    from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
    from peft.utils.save_and_load import get_peft_model_state_dict

    def layers(model: Any) -> Any:
        held = get_peft_model_state_dict(model, adapter_name=ADAPTER)
        factor = (spec.alpha or spec.rank) / spec.rank
        scaled = {name: part.detach().cpu().float() for name, part in held.items()}
        scaled = {name: part * factor if "lora_B" in name else part for name, part in scaled.items()}
        return convert_state_dict_to_diffusers(scaled)

    folder.mkdir(parents=True, exist_ok=True)
    if spec.rank:
        of_xl = isinstance(student, StudentXL)
        encoders = (("text_encoder", "text_encoder_2") if of_xl else ("text_encoder",)) if spec.text_encoder else ()
        worded = {f"{part}_lora_layers": layers(getattr(student, part)) for part in encoders}
        kind: Any = StableDiffusionXLLoraLoaderMixin if of_xl else StableDiffusionLoraLoaderMixin
        kind.save_lora_weights(folder, layers(student.unet), **worded, weight_name=WEIGHTS)
    if spec.token:
        pseudoword.write(folder, spec.token, student.text_encoder)
    if student.projection is not None:
        visual.save_projection(folder, student.projection)


# ---------------------------------------------------------------------------------------------------------------- use


def attach(pipeline: Any, spec: Lora, folder: Path, scale: float, label: int = 0) -> None:
    """Let a pipeline draw with the adapter of a fit at ``scale``; with ``scope="class"`` with that for ``label``.

    Call it again for another scale or class: files are read at first use and stay, switching is cheap. Scale 0 is the
    base bit for bit; a learned word has no scale. Raises FileNotFoundError when the adapter is not fitted, SpecError
    when it is for another base.
    """
    needs_peft()
    if spec.token:
        pseudoword.recall(pipeline, spec.token, part_folder(folder, spec, label))
    if not spec.rank:
        return
    name = f"class-{label}" if spec.scope == "class" else ADAPTER
    held = {name for names in pipeline.get_list_adapters().values() for name in names}
    if name not in held:
        _load(pipeline, part_folder(folder, spec, label), name)
    if scale == 0:
        pipeline.disable_lora()
        return
    pipeline.enable_lora()
    pipeline.set_adapters(name, scale)


def _load(pipeline: Any, folder: Path, name: str) -> None:
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder / WEIGHTS} is not there; run the study that holds this Lora")
    try:
        held = load_file(folder / WEIGHTS)
        options = {"network_alphas": None, "adapter_name": name, "_pipeline": pipeline}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are meant to be
            pipeline.load_lora_into_unet(held, unet=pipeline.unet, **options)
            for part in ("text_encoder", "text_encoder_2"):
                if any(key.startswith(f"{part}.") for key in held):  # diffusers warns where there is nothing for it
                    with _hushed():
                        encoder = {"text_encoder": getattr(pipeline, part, None), "prefix": part}
                        pipeline.load_lora_into_text_encoder(held, **encoder, **options)
    except (RuntimeError, ValueError, KeyError) as error:
        raise SpecError(
            f"{folder / WEIGHTS} does not fit this pipeline ({str(error).splitlines()[0]}); attach it to the base that "
            "it was trained for"
        ) from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep transformers from reporting the adapters of other classes as missing; they stay as they were."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def needs_peft() -> None:
    """Raise SpecError where peft, whose layers adapters are, is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise SpecError("adapters need peft; type: uv sync --extra openset")
