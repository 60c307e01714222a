"""Which kernels OpenBLAS and NumPy compute with: portable ones, or this CPU's own.

Both choose by CPU when NumPy is loaded, and different kernels round differently. Environment variables decide instead;
processes started afterwards inherit them. With the portable kernels, every x86-64 CPU that has AVX2 finds the same
bytes; the native ones are the fastest. Imports NumPy only where it has been chosen for. Knows nothing about the
configuration.
"""

import os
import platform
import re
import sys
from pathlib import Path

from threadpoolctl import threadpool_info

from charloom.adapters.process import signals
from charloom.core.common.errors import EnvironmentFault

_CHOSEN = "CHARLOOM_KERNELS"  # what the variables below were set for
# NumPy names the parts of AVX-512 so from 2.4 on, and ignores names that it does not know.
_PORTABLE = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
_VARIABLES = {*_PORTABLE, "NPY_ENABLE_CPU_FEATURES"}  # the last may not stand beside NPY_DISABLE_CPU_FEATURES
# On a CPU newer than itself, OpenBLAS falls back to Haswell's kernels; with these, a GRU (m = 384, float32) trains 38 %
# faster on a Zen 5.
_AVX512 = {"OPENBLAS_CORETYPE": "SkylakeX"}
_AVX512_FLAGS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
_CPUINFO = Path("/proc/cpuinfo")


def select(kernels: str) -> None:
    """Choose the "portable" or the "native" kernels for this process, before it imports NumPy.

    Raises EnvironmentFault where NumPy is imported already.
    """
    if "numpy" in sys.modules:
        raise EnvironmentFault(
            "kernels must be selected before NumPy is imported; move the call to the program's start"
        )
    _set_variables(kernels)


def select_for_command() -> None:
    """Choose the portable kernels for a command that starts, unless the process that started it chose others."""
    if _CHOSEN not in os.environ and "numpy" not in sys.modules:
        _set_variables("portable")


def require(kernels: str) -> None:
    """Let this command compute with `kernels`: start it anew where others were chosen, then verify what was loaded.

    Where the CPU has no portable kernels, a line on stderr says that results will differ. Raises EnvironmentFault where
    it has them and others were loaded.
    """
    if chosen() != kernels:
        _set_variables(kernels)
        signals.execute(sys.orig_argv[1:])
    if kernels == "portable" and not _has_portable():
        cpu = f"kernels=portable needs an x86-64 CPU with AVX2, got {platform.machine()} without"
        print(f"charloom: {cpu}: results will differ from other machines' in the last digits", file=sys.stderr)
    elif kernels == "portable" and not re.fullmatch(r"openblas \S+ Haswell, NumPy \S+ X86_V3", loaded()):
        needed = "OpenBLAS with its Haswell kernels and NumPy 2.4 or newer with X86_V3"
        advice = "install NumPy as requirements.lock does, or set kernels=native"
        raise EnvironmentFault(f"kernels=portable needs {needed}, got {loaded()}; {advice}")


def chosen() -> str | None:
    """The kernels that were chosen for this process; None where nobody has chosen."""
    return os.environ.get(_CHOSEN)


def loaded() -> str:
    """What NumPy computes with, such as "openblas 0.3.31.188.0 Haswell, NumPy 2.4.6 X86_V3".

    That is the BLAS that was loaded first, which is NumPy's, and the CPU features that NumPy's functions use.
    """
    import numpy as np
    from numpy.lib import introspect

    libraries = (library for library in threadpool_info() if library["user_api"] == "blas")
    named = (f"{found['internal_api']} {found['version']} {found.get('architecture')}" for found in libraries)
    used = {types["current"] for function in introspect.opt_func_info().values() for types in function.values()}
    features = " ".join(sorted(name for name in used if not name.startswith("baseline")))
    return f"{next(named, 'an unknown BLAS')}, NumPy {np.__version__} {features}".rstrip()


def _set_variables(kernels: str) -> None:
    for name in _VARIABLES:
        os.environ.pop(name, None)
    if kernels == "native":
        os.environ.update(_AVX512 if _cpu_flags() >= _AVX512_FLAGS else {})
    elif _has_portable():
        os.environ.update(_PORTABLE)
    os.environ[_CHOSEN] = kernels


def _has_portable() -> bool:
    """Whether this CPU has AVX2, without which OpenBLAS's Haswell kernels are illegal instructions."""
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return is_x86 and ("avx2" in _cpu_flags() or not _CPUINFO.exists())  # where there is no such file, on a Mac, it has


def _cpu_flags() -> set[str]:
    """What the CPU can do, by Linux's names; empty on other systems."""
    try:
        with _CPUINFO.open(encoding="utf-8") as file:
            return set(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return set()
