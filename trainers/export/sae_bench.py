"""What SAEBench's door for custom SAEs takes: a folder per SAE as SAELens loads it, and a script beside them.

`custom_saes.py` has `selected_saes()`, which its evaluations take under that name, and runs the core one.
"""

from __future__ import annotations

from pathlib import Path

from frontier.writing import write_text
from trainers.export import custom_saes
from trainers.export.files import ExportError
from trainers.export.places import hook_name, is_hook
from trainers.export.sae_lens import is_transcoder
from trainers.sae import SAE


def refuse_unfit(sae: SAE) -> None:
    """SAEBench measures what an SAE makes of the activations that it reads, at a hook of TransformerLens.

    Raises
    ------
    ExportError
        If it is a transcoder, or its site has no such name.
    """
    if is_transcoder(sae):
        raise ExportError("a transcoder cannot be exported: SAEBench compares its output with its input")
    place = hook_name(str(sae.identity.get("site") or "unknown"))
    if not is_hook(place):
        raise ExportError(f"SAEBench wants a hook of TransformerLens; the site is {place}")


def write_script(out: Path) -> Path:
    """The script, in the folder that holds the SAEs."""
    source = Path(custom_saes.__file__)
    return write_text(out / source.name, source.read_text(encoding="utf-8"))
