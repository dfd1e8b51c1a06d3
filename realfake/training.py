"""Makes one thing that is trained or tried, a generator, a trial or an evaluation, and keeps it in the store.

``make`` is the plain way, in this process and without Ray; ``train`` is the same through Ray Train, on one worker or
several. What each kind is made from is in ``works``, how networks learn in ``generators`` and ``tasks``; when a thing
is due is decided in ``execution``, many at once are in ``sweep``. torch and ray are imported only when they are used.
"""

import contextlib
import platform
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from realfake import samples
from realfake.packing import selector
from realfake.resources import ResourceError, Training
from realfake.spec import Audit, ClosedSet, Evaluation, Gan, Lora, Pretrained, Trial, address
from realfake.store import Store
from realfake.works import Report, Trained, work_of
from realfake.works import distinct_images as distinct_images


def make(
    spec: Trained,
    store: Store,
    report: Report,
    training: Training = Training(),  # noqa: B008 - frozen
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Fit a generator or train a trial in this process, and return the result that its record keeps.

    A thing that is made already is not made again. ``weights`` says where files of pretrained weights lie. One that
    diverges is made too, with ``status`` "diverged". After an error nothing is left but the checkpoint of a fit.
    Raises what ``samples.load`` raises for inputs that are missing or corrupt, StoreError when a pool's generator
    diverged, ResourceError when the device asked for is not there.
    """
    record = store.record(spec)
    if record is not None:
        return record["result"]
    accelerator = _fresh_accelerator(spec, training)
    report = report if accelerator.is_main_process else _no_report
    work = work_of(spec, store, report, accelerator, training, weights or {})
    with store.making(spec) if accelerator.is_main_process else _elsewhere() as (folder, result):
        result |= work(folder)
        result["environment"] = _environment(spec, accelerator, training)
    return result


def train(
    spec: Trained,
    store: Store,
    report: Report,
    training: Training = Training(),  # noqa: B008 - frozen
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Do what ``make`` does, through Ray Train's TorchTrainer, and raise what it raises.

    One worker is this process itself (no Ray cluster is needed). ``training.workers`` > 1 are processes of the Ray
    cluster that is connected; they need a store that all of them see. ``report`` is called in this process, always.
    """
    if training.workers > 1:
        return _train_on_workers(spec, store, report, training, weights)
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    here = ScalingConfig(num_workers=0)  # Train's local mode: the loop may call nothing of ray.train
    quiet = RunConfig(name=address(spec), storage_path=tempfile.gettempdir())
    trainer = TorchTrainer(lambda: make(spec, store, report, training, weights), scaling_config=here, run_config=quiet)
    return trainer.fit().return_value  # type: ignore[return-value]


# --------------------------------------------------------------------------------------------- this process, made fresh


def _fresh_accelerator(spec: Trained, training: Training) -> Any:
    """Return an Accelerator in a process as good as new: seeded by the address, nothing left of the spec before."""
    import gc

    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    if training.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError('training.device is "cuda", and torch finds no CUDA device here; write device = "auto"')
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    AcceleratorState._reset_state(reset_partial_state=True)  # process-global: a second precision would raise
    GradientState._reset_state()
    torch.set_num_threads(training.threads)
    torch.backends.cudnn.deterministic = True
    _seed(samples.seed_of("train", address(spec)))
    bf16 = _precision(spec) == "bf16"
    accelerator = Accelerator(cpu=training.device == "cpu", mixed_precision="bf16" if bf16 else "no")
    # oneDNN's bf16 weight gradients of convolutions over 1- and 2-pixel maps hold NaN, now and then, on processors with
    # AMX (torch 2.15, seen in 13 of 20 plain backward passes); torch's own kernels are slower and right.
    torch.backends.mkldnn.enabled = not (bf16 and accelerator.device.type == "cpu")
    return accelerator


def _seed(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _precision(spec: Trained) -> str:
    match spec:
        case Trial():
            return spec.recipe.precision
        case Evaluation() | Audit():
            return spec.of.recipe.precision
        case ClosedSet() | Gan() | Pretrained() | Lora():
            return spec.precision
    return "fp32"


def _environment(spec: Trained, accelerator: Any, training: Training) -> dict[str, Any]:
    import torch

    on_gpu = accelerator.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(accelerator.device) if on_gpu else platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": training.threads,
        "world_size": accelerator.num_processes,
        "precision": _precision(spec),
    }


def _no_report(event: dict[str, Any]) -> None:
    """Keep silent: of several workers only the first one reports."""


@contextlib.contextmanager
def _elsewhere() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a folder and a result for the workers whose files nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="realfake-") as folder:
        yield Path(folder), {}


# --------------------------------------------------------------------------------------------------- on several workers


def _train_on_workers(
    spec: Trained, store: Store, report: Report, training: Training, weights: Mapping[str, Path] | None
) -> dict[str, Any]:
    """Run ``make`` on several Ray Train workers; what they report, and the first error, come back through a queue."""
    from ray.train import RunConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    events = Queue(actor_options={"num_cpus": 0})
    scratch = store.scratch(spec)  # in the store, for the workers' machines share that
    place, files = store.shared(scratch)

    def loop() -> dict[str, Any]:
        try:
            return make(spec, store, events.put, training, weights)
        except Exception as error:
            events.put(error)
            raise

    trainer = TorchTrainer(
        loop,
        scaling_config=_scaling(training),
        run_config=RunConfig(name="train", storage_path=place, storage_filesystem=files),
    )
    fitted = _in_thread(trainer.fit)
    try:
        error = _relay(events, report, fitted)
        return fitted.result().return_value
    except TrainingFailedError as failed:
        raise error or failed from failed
    finally:
        events.shutdown(force=True)
        store.forget(f".scratch/{scratch.name}")


def _scaling(training: Training) -> Any:
    import ray
    from ray.train import ScalingConfig

    there = training.gpus_per_lane > 0 if training.cpus_per_lane else ray.cluster_resources().get("GPU", 0) > 0
    use_gpu = training.device != "cpu" and there
    share = {"CPU": training.cpus_per_lane or 1.0, **({"GPU": training.gpus_per_lane or 1.0} if use_gpu else {})}
    placed = {"resources_per_worker": share, "label_selector": selector(training.labels) or None}
    return ScalingConfig(num_workers=training.workers, use_gpu=use_gpu, **placed)


def _in_thread(work: Callable[[], Any]) -> Future:
    """Run in a thread of its own, so that Ctrl-C reaches this one and Ray Train takes no signal handler."""
    outcome: Future = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asks for the result
            outcome.set_exception(error)

    threading.Thread(target=run, name="ray-train", daemon=True).start()
    return outcome


def _relay(events: Any, report: Report, fitted: Future) -> Exception | None:
    """Pass on what workers report until they end; return the first error that one of them met."""
    from ray.util.queue import Empty

    first = None
    while not fitted.done() or events.qsize():
        with contextlib.suppress(Empty):
            event = events.get(timeout=0.2)
            if isinstance(event, Exception):
                first = first or event
            else:
                report(event)
    return first
