"""Open-set fits over two processes (torchrun, as Ray Train's workers are) make what one process makes."""

import os
import subprocess
import sys

import pytest

from realfake.spec import Lora, Matching, Pretrained, Subset, address
from realfake.store import Store
from tests import tiny

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
FEW = {"batch_size": 8, "steps": 6}
SEEN = Subset(of=tiny.TRAIN, size=20, seed=9)
BASE = Pretrained(real=SEEN, network="sd-tiny", autoencoder_steps=6, text_steps=6, **FEW)
PLAIN = Lora(base=BASE, real=tiny.real(40), **FEW)
MATCHED = Lora(base=BASE, real=tiny.real(40), matching=Matching(), **FEW)


def fit_all(root):
    """Fit everything in the processes that torchrun has started, or in this one."""
    import torch.distributed

    from realfake.resources import Training
    from realfake.training import make

    for spec in (BASE, PLAIN, MATCHED):
        make(spec, Store(root), lambda event: None, Training(device="cpu"), {})
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the next one reads what the first process has written


def test_two_processes_fit_what_one_fits(tmp_path):
    from safetensors.torch import load_file

    for processes in (1, 2):
        tiny.import_digits(tmp_path / str(processes))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command += ["--no_python", sys.executable, "-c", "import sys; from tests import test_cluster_workers as t; "]
        command[-1] += "t.fit_all(sys.argv[1])"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run([*command, tmp_path / str(processes)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = Store(tmp_path / "1"), Store(tmp_path / "2")
    for spec in (BASE, PLAIN, MATCHED):
        assert two.record(spec)["result"]["environment"]["world_size"] == 2
        files = [name for name in one.record(spec)["files"] if name.endswith(".safetensors")]
        assert files, address(spec)
        for file in files:
            alone, shared = (load_file(store.folder(spec) / file) for store in (one, two))
            for name, weight in alone.items():
                assert (weight - shared[name]).abs().max() < 1e-4, (address(spec), file, name)
