"""Devices, precisions and threads are chosen by name, and what is not there is said in one line."""

import math

import pytest
import torch

from masktools.core import runtime
from masktools.core.errors import DeviceError, MasktoolsError, ParameterError
from masktools.core.runtime import (
    fitting_batch_size,
    in_batches,
    resolve_device,
    resolve_precision,
    threads,
    to_device,
    usable_cores,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_auto_is_the_cpu_where_there_is_no_gpu(no_gpu):
    assert resolve_device("auto") == resolve_device() == resolve_device("cpu") == CPU


def test_auto_is_the_first_gpu_where_there_is_one(two_gpus):
    assert resolve_device("auto") == resolve_device("cuda") == CUDA
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_missing_gpu_is_named_with_the_way_out(no_gpu, name):
    with pytest.raises(DeviceError, match=r"no GPU found.*: use --device cpu"):
        resolve_device(name)


def test_a_torch_without_cuda_says_so(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(DeviceError, match=r"no GPU found \(this build of torch knows none: install one with CUDA\)"):
        resolve_device("cuda")


def test_a_gpu_number_that_is_too_high_lists_those_there_are(two_gpus):
    with pytest.raises(DeviceError, match=r"no GPU cuda:2 found, this machine has cuda:0, cuda:1"):
        resolve_device("cuda:2")


def test_mps_is_there_or_is_missed(no_gpu, monkeypatch):
    with pytest.raises(DeviceError, match=r"no Apple GPU found \(mps\): use --device cpu"):
        resolve_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("mps") == torch.device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "auto:1", "cpu:1", "meta"])
def test_an_unknown_device_lists_the_choices(name):
    with pytest.raises(ParameterError, match="unknown device .*: choose from auto, cpu, cuda, cuda:N, mps"):
        resolve_device(name)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_precision_on_the_cpu(monkeypatch, has_bf16):
    monkeypatch.setattr("masktools.core.runtime.has_fast_bf16", lambda: has_bf16)
    assert resolve_precision("auto", CPU) is (torch.bfloat16 if has_bf16 else torch.float32)
    assert resolve_precision("fp32", CPU) is torch.float32
    assert resolve_precision("bf16", CPU) is torch.bfloat16
    assert resolve_precision("int8", CPU) is torch.int8
    with pytest.raises(DeviceError, match="fp16 needs a GPU, the device is cpu"):
        resolve_precision("fp16", CPU)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_precision_on_a_gpu_depends_on_what_it_computes_in(monkeypatch, has_bf16):
    monkeypatch.setattr("masktools.core.runtime._has_bf16", lambda device: has_bf16)
    assert resolve_precision("auto", CUDA) is (torch.bfloat16 if has_bf16 else torch.float32)
    assert resolve_precision("fp16", CUDA) is torch.float16
    if not has_bf16:
        with pytest.raises(DeviceError, match="cuda:0 does not compute in bf16: use --precision fp16 or fp32"):
            resolve_precision("bf16", CUDA)


def test_precision_on_mps():
    assert resolve_precision("auto", torch.device("mps")) is torch.float32
    with pytest.raises(DeviceError, match="bf16 is not offered on mps"):
        resolve_precision("bf16", torch.device("mps"))


@pytest.mark.gpu
def test_a_gpu_that_is_there_is_found():
    device = resolve_device("auto")
    assert device.type == "cuda"
    dtype = resolve_precision("auto", device)
    assert dtype in (torch.bfloat16, torch.float32)
    assert torch.ones(2, device=device, dtype=dtype).sum().item() == 2


def test_threads_are_given_back(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(runtime, "usable_cores", lambda: before + 1)
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with threads(None):
        assert torch.get_num_threads() == before


def test_there_are_never_more_threads_than_cores_to_be_had(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(runtime, "usable_cores", lambda: 1)
    for n in (999, 1, None):
        with threads(n):
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("groups", "files", "n_cores"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/docker/f00", {"cpu.max": "50000 100000"}, 1),
        ("4:cpu,cpuacct:/job", {"cpu,cpuacct/job/cpu.cfs_quota_us": "400000"}, 4),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1"}, 64),
        ("1:memory:/x", {"cpu.max": "100000 100000"}, 64),
        ("nonsense", {}, 64),
    ],
)
def test_the_quota_of_a_container_is_a_number_of_cores(tmp_path, monkeypatch, groups, files, n_cores):
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(f"{groups}\n")
    for name, content in files.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
        (path.parent / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == n_cores


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()

    def stumble():
        with threads(before + 1):
            raise KeyError

    with pytest.raises(KeyError):
        stumble()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("n", "wanted"), [(0, "at least 1"), (-1, "at least 1"), (True, "a whole number")])
def test_there_is_at_least_one_thread(n, wanted):
    with pytest.raises(ParameterError, match=f"threads must be {wanted}, got {n}"), threads(n):
        pass


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: resolve_precision("fp23", CPU),
            ParameterError,
            "unknown precision 'fp23': choose from auto, fp32, bf16, fp16, int8",
        ),
        (
            lambda: resolve_precision("int8", CUDA),
            DeviceError,
            "int8 needs a CPU, the device is cuda:0: use --precision bf16 or fp32",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_half_as_many_are_tried_when_memory_runs_out(error):
    asked = []

    def compute(part):
        asked.append((part.start, part.stop))
        if part.stop - part.start > 2:
            raise error
        return list(range(part.start, part.stop))

    made, size = in_batches(compute, 7, 8)
    assert [one for part in made for one in part] == list(range(7))
    assert size == 2
    assert asked == [(0, 7), (0, 4), (0, 2), (2, 4), (4, 6), (6, 7)]


def test_a_single_item_that_does_not_fit_is_the_end():
    def compute(part):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    with pytest.raises(MasktoolsError, match="memory ran out while one clip was computed: close other programs"):
        in_batches(compute, 3, 4)


def test_other_errors_are_no_reason_to_try_again():
    def compute(part):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        in_batches(compute, 3, 4)


def test_a_batch_is_what_the_memory_holds(monkeypatch):
    assert fitting_batch_size(CPU) == 8
    for free, wanted in ((100, 1), (3 * 2**30, 4), (10 * 2**30, 16), (140 * 2**30, 128)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 2 * free))
        assert fitting_batch_size(CUDA) == wanted


def test_a_tensor_stays_on_its_device():
    tensor = torch.ones(2)
    assert to_device(tensor, CPU) is tensor
    assert to_device(tensor, torch.device("meta")).is_meta


def containers(root, **files):
    """Write the control group of this process, and its files, under a root."""
    for place, text in files.items():
        path = root / place.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu_dot_max": "150000 100000\n"}, 1.5),
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu_dot_max": "max 100000\n"}, None),
        ({"proc__self__cgroup": "0::/a/b\n", "sys__fs__cgroup__a__cpu_dot_max": "200000 100000\n"}, 2.0),
        (
            {
                "proc__self__cgroup": "4:cpu,cpuacct:/x\n",
                "sys__fs__cgroup__cpu__x__cpu_dot_cfs_quota_us": "50000\n",
                "sys__fs__cgroup__cpu__x__cpu_dot_cfs_period_us": "100000\n",
            },
            0.5,
        ),
        ({}, None),
    ],
    ids=["v2", "no limit", "a group above ours", "v1", "no groups"],
)
def test_the_quota_of_a_container_is_known(tmp_path, monkeypatch, files, quota):
    root = containers(tmp_path, **files)
    assert runtime.cpu_quota(root) == quota
    monkeypatch.setattr(runtime, "n_cores", lambda: 8)
    assert runtime.usable_cores(root) == (8 if quota is None else math.ceil(quota))


def test_more_threads_than_cores_are_not_taken(monkeypatch):
    monkeypatch.setattr(runtime, "usable_cores", lambda: 1)
    with threads(999):
        assert torch.get_num_threads() == 1
