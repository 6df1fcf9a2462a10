"""Run a script as the superuser without the right to use files of others: SCRIPT ARGUMENT..."""

import ctypes
import runpy
import sys

_VERSION = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def give_up_files_of_others() -> None:
    """Remove the two capabilities to which permissions mean nothing from this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    # Effective, permitted and inheritable capabilities 0 to 31, then those from 32 on.
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for index in range(3):
        sets[index] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0


if __name__ == "__main__":
    give_up_files_of_others()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
