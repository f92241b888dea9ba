"""`python tests/versions.py oldest`: what the analysis and its tests need, at the lowest versions allowed.

With `newest` the versions are left to pip. One requirement a line; packages that only lint, train or drive a
browser are left out.
"""

import re
import sys
import tomllib
from pathlib import Path

LEFT_OUT = (
    "mypy", "nbformat", "pandas-stubs", "playwright", "ruff", "scipy-stubs", "types-openpyxl", "types-pyyaml",
)  # fmt: skip


def requirements(which: str) -> list[str]:
    """The requirements of the oldest or the newest environment."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["excel"], *extras["polars"], *extras["dev"]]
    bounds = [m for r in wanted if (m := re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", r))]
    kept = {m[1]: m[2] for m in bounds if m[1] not in LEFT_OUT}
    return [f"{name}=={lowest}" if which == "oldest" else name for name, lowest in kept.items()]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
