"""The page: template, style and scripts of template/ filled with what is said and drawn."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from frontier.html_report.contents import Contents

TEMPLATE = Path(__file__).parent / "template"
SCRIPTS = ("figures.js", "axes.js", "tables.js", "folds.js")
PANELS = 6
"""So many frontiers stand above the words; the others are folded."""
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'none'; base-uri 'none'; form-action 'none'"
)
"""What the browser may do with the page: run the scripts of these digests, and load nothing from anywhere."""
IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page(said: Contents, drawn: dict[str, Any]) -> str:
    """The whole page as HTML, scripts, style and Plotly's runtime inside.

    Jinja escapes every value; ready HTML comes from `frontier.tables` only, which escapes every cell.
    The policy in its head names the digests of the scripts, so that no other script runs, were one to get in.
    """
    from markupsafe import Markup

    return str(_template().render(said=said, drawn=drawn, data=Markup(script_json(drawn))))


@cache
def _template() -> Any:
    """The page but for what is said and drawn: compiling it takes longer than filling it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = FileSystemLoader(TEMPLATE)
    jinja = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scripts = [runtime(), *(_text(name) for name in SCRIPTS)]
    policy = POLICY.format(scripts=" ".join(f"'sha256-{_digest(s)}'" for s in scripts))
    same = {"shown": PANELS, "policy": policy, "css": Markup(_text("page.css")), "ready": Markup}
    return jinja.get_template("page.html", globals={**same, "scripts": [Markup(s) for s in scripts]})


def script_json(value: Any) -> str:
    r"""JSON that cannot end the script element it stands in.

    >>> script_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for letter, escape in IN_SCRIPT.items():
        text = text.replace(letter, escape)
    return text


@cache
def runtime() -> str:
    """Plotly's own JavaScript, as the installed package brings it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("\r\n", "\n")


def _text(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _digest(script: str) -> str:
    """A script's digest as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
