"""The version of this server, as the package that it was installed from says."""

__all__ = ["server_version"]


def server_version() -> str:
    """Return the version, or `0+unknown` when it runs from a source tree that was never installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  a tenth of a second

    try:
        return version("cuelight")
    except PackageNotFoundError:
        return "0+unknown"
