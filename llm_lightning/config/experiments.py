"""Which experiments there are."""

from pathlib import Path

_NO_DESCRIPTION = "(no description: add one as the second comment line)"


def conf_dir() -> Path:
    """Returns the folder of YAML files: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def list_experiments() -> dict[str, str]:
    """Returns each experiment's name and its description, the first comment in its file.

    ``# @package`` lines are no description; a file without one is listed all the same.
    """
    experiments = {}
    for file in sorted((conf_dir() / "experiment").glob("[!_]*.yaml")):
        comments = (
            line.removeprefix("#").strip()
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        )
        described = (comment for comment in comments if comment and not comment.startswith("@"))
        experiments[file.stem] = next(described, _NO_DESCRIPTION)
    return experiments
