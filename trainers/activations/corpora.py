"""Corpora that are streamed with the `datasets` package, when it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from frontier.wording import nearest
from trainers.text import EVALUATION_SHARE, Document, TextError

PREFIX = "datasets:"
"""A text that starts so names a corpus: `datasets:roneneldan/TinyStories`."""


@dataclass(frozen=True)
class StreamedCorpus:
    """A corpus of the `datasets` package, read document by document and never downloaded whole."""

    path: str
    """Name on the Hugging Face hub, a folder, or a format (`json`, `text`, `parquet`) with `data_files`."""
    configuration: str | None = None
    part: str = "train"
    """The corpus's own split; ours (training or held-out) is cut from it."""
    column: str = "text"
    """The column that holds the text."""
    revision: str | None = None
    """Git revision on the hub; worth pinning."""
    data_files: str | tuple[str, ...] | None = field(default=None)

    @classmethod
    def of(cls, text: str) -> StreamedCorpus:
        """The corpus that a text names.

        >>> StreamedCorpus.of("datasets:allenai/c4:en").configuration
        'en'
        """
        path, _, configuration = text.removeprefix(PREFIX).partition(":")
        if not path:
            raise TextError(
                f"{text!r} names no corpus; wanted '{PREFIX}NAME' or '{PREFIX}NAME:CONFIGURATION'"
            )
        return cls(path, configuration or None)

    @property
    def name(self) -> str:
        """Path, configuration and part in one word."""
        return "/".join(p for p in (self.path, self.configuration, self.part) if p)

    def documents(self, split: str | None) -> Iterator[Document]:
        """The documents in the corpus's order; every sixteenth one is held out for evaluation.

        Raises
        ------
        TextError
            If `datasets` is not installed, or the corpus cannot be opened or has no such column.
        """
        if split not in (None, "train", "evaluation"):
            raise TextError(f"split must be 'train' or 'evaluation', got {split!r}")
        for number, row in enumerate(self._rows()):
            if self.column not in row:
                raise TextError(f"{self.name} has no column {self.column!r}{nearest(self.column, row)}")
            text = row[self.column]
            if not isinstance(text, str | None):
                kind = type(text).__name__
                raise TextError(
                    f"{self.name} has {kind} in {self.column!r} of document {number}; wanted text"
                )
            held_out = number % EVALUATION_SHARE == EVALUATION_SHARE - 1
            if split is None or held_out == (split == "evaluation"):
                yield Document(str(number), text or "")

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise TextError(
                f"{self.name} is streamed with the package `datasets`, which is not installed: "
                "pip install 'sae-frontier[corpora]', or name files of text instead"
            ) from error
        files = list(self.data_files) if isinstance(self.data_files, tuple) else self.data_files
        try:
            yield from load_dataset(
                self.path, self.configuration, split=self.part, revision=self.revision, data_files=files,
                streaming=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise TextError(f"{self.name} cannot be streamed: {error}") from error


def corpus_of(text: Any) -> StreamedCorpus | None:
    """The corpus that a text is or names; None for every other text."""
    if isinstance(text, str) and text.startswith(PREFIX):
        return StreamedCorpus.of(text)
    return text if isinstance(text, StreamedCorpus) else None
