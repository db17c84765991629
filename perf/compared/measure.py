"""Wall time, processor time and peak memory of a call, and the matrix product rate of the machine."""

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What a call took.

    Attributes:
        seconds: on the clock.
        cpu: processor seconds of all threads; on a busy machine steadier than the clock.
        peak: largest resident memory during the call, less that before it, bytes; on a GPU, memory allocated there.
    """

    seconds: float
    cpu: float
    peak: int

    def scaled(self, factor: float) -> "Cost":
        """The cost of `factor` times as many equal calls, one after the other."""
        return Cost(self.seconds * factor, self.cpu * factor, self.peak)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.cpu + other.cpu, max(self.peak, other.peak))

    def lower(self, other: "Cost") -> "Cost":
        """Each figure's smaller value of two measurements of the same call."""
        return Cost(min(self.seconds, other.seconds), min(self.cpu, other.cpu), min(self.peak, other.peak))


Call = Callable[[], tuple[Any, Cost]]
"""Runs something that measures itself."""


def measured(call: Callable[[], Any]) -> tuple[Any, Cost]:
    """Result and cost of one call; Linux with glibc only, because of the peak."""
    gc.collect()
    if torch.cuda.is_initialized():
        return _measured_on_gpu(call)
    ctypes.CDLL(None).malloc_trim(0)
    before = _memory("VmRSS")
    _CLEAR.write_text("5")  # the peak starts again from what is resident now
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return result, Cost(seconds, used, max(0, _memory("VmHWM") - before))


def _measured_on_gpu(call: Callable[[], Any]) -> tuple[Any, Cost]:
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    torch.cuda.synchronize()
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return result, Cost(seconds, used, torch.cuda.max_memory_allocated() - before)


def _memory(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def rounds(calls: Mapping[str, Call], repeats: int) -> dict[str, tuple[Any, Cost]]:
    """Lowest cost of each call over several rounds; within a round every call has its turn, so load hits all alike."""
    found: dict[str, tuple[Any, Cost]] = {}
    for _ in range(repeats):
        for name, call in calls.items():
            result, cost = call()
            found[name] = (result, cost if name not in found else cost.lower(found[name][1]))
    return found


@dataclass(frozen=True)
class Rate:
    """Operations per second on the clock, and per processor second of all threads."""

    clock: float
    cpu: float

    def higher(self, other: "Rate") -> "Rate":
        """Each figure's larger value."""
        return Rate(max(self.clock, other.clock), max(self.cpu, other.cpu))


def matmul_size(device: str) -> int:
    """Rows and columns of the matrices whose product is timed: enough to keep the device busy."""
    return 2048 if device == "cpu" else 8192


def matmul_rate(device: str = "cpu", dtype: str = "float32", *, repeats: int = 10) -> Rate:
    """Best rate of a product of two square matrices (a multiplication and an addition count two)."""
    size, generator = matmul_size(device), torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator, device=device).to(getattr(torch, dtype)) for _ in range(2))
    torch.mm(a, b)
    operations, best = 2 * size**3, Rate(0.0, 0.0)
    for _ in range(repeats):
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        start, cpu = time.perf_counter(), time.process_time()
        torch.mm(a, b)
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
        best = best.higher(Rate(operations / seconds, operations / used))
    return best


def machine(threads: int, device: str, dtype: str) -> str:
    """One line that says where a table was measured."""
    load, gpu = os.getloadavg()[0], "" if device == "cpu" else f"{torch.cuda.get_device_name(device)}, "
    return (
        f"{gpu}{os.cpu_count()} cores ({platform.machine()}), {threads} threads, torch {torch.__version__}, {dtype}; "
        f"load average at the start {load:.1f}"
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column to the left and the others to the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
