"""Keeps a session's memory level over many calls.

A call that is over is a ring of objects that hold ONNX sessions, some 35 MiB, until Python's
cycle collector comes by; and what is freed stays with the C library's allocator, one arena a
thread. Both were seen to add up: 580 MiB after one spoken call, 1,170 after eighteen.
"""

import ctypes
import gc
from contextlib import suppress
from functools import cache

M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2  # as many as a small machine's cores; more only keep more


def limit_arenas() -> None:
    """Have glibc share its arenas between threads; does nothing with another C library."""
    with suppress(OSError, AttributeError):
        _libc().mallopt(M_ARENA_MAX, ARENAS)


def keep_loaded_models() -> None:
    """Leave all that is there now out of later collections, which makes them short."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Collect the calls that are over and return their memory to the system.

    Takes 40 to 260 ms, so call it while nobody is talking.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(0)


def let_go() -> None:
    """Collect all that a session leaves behind, what it had put out of reach too.

    For a process that goes on or ends after it: soxr, for one, complains on stderr of
    resamplers that are there as Python ends.
    """
    gc.unfreeze()
    gc.collect()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)  # this process, which has it loaded: looking for it runs a program
