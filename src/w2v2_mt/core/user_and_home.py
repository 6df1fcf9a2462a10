"""The name and the home folder of the user, which libraries ask for and containers may lack."""

import atexit
import getpass
import os
import shutil
import tempfile
from pathlib import Path


def ensure_user_and_home() -> None:
    """Set `LOGNAME` and `HOME` if neither the environment nor the user database knows them.

    `docker run -u 12345` and OpenShift give a user id that is in no database: without a name torch
    is not imported, and without a home matplotlib is not.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # Python 3.13 raises the second.
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
    try:
        Path.home()
    except RuntimeError:
        # New and of this process alone, since a folder with a known name may be of somebody else.
        os.environ["HOME"] = home = tempfile.mkdtemp(prefix="home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
