"""Optional dependencies: whether they are installed, and the line that installs them."""

from importlib.util import find_spec

INSTALL = "pip install -c constraints.txt -e '.[{extra}]'"


def is_installed(module: str) -> bool:
    """Whether a module can be imported; it is not imported, but its parents are."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the parent: find_spec("a.b") imports a
        return False


def missing_extra(feature: str, modules: dict[str, str], extra: str) -> str | None:
    """Returns the message for a feature whose libraries are missing; ``None`` if all are there.

    Args:
        feature: the setting or option that needs them, as the user wrote it.
        modules: import name of each library, and the name that people know it by.
        extra: the extra of this package that installs them.
    """
    missing = [name for module, name in modules.items() if not is_installed(module)]
    if not missing:
        return None
    return (
        f"{feature} needs {' and '.join(missing)}: pip install 'llm-lightning[{extra}]' "
        f"(in a checkout: {INSTALL.format(extra=extra)})"
    )


def require(feature: str, modules: dict[str, str], extra: str) -> None:
    """Refuses a feature whose libraries are missing; see :func:`missing_extra`.

    Raises:
        ValueError: naming them and the line that installs them.
    """
    if message := missing_extra(feature, modules, extra):
        raise ValueError(message)
