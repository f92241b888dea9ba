"""Activations to train on, as endless, shuffled, resumable streams of batches.

=====================  ==============================================================================
`activation_stream`    activations of a language model on a text, live or cached: `stream`
`StoredActivations`    rows in files or arrays, in the place of a language model: `stored`
`ComputedRows`         rows of any model, computed when they are asked for; `write_rows`: `computed_rows`
`JoinedActivations`    rows of several sites side by side: `joined_rows`
`ActivationStore`      a store that `sae-train harvest` wrote (`storing`), local or at an address: `store`
`synthetic_stream`     sums of known features, for which the truth is known: `synthetic`
`evaluation_windows`   the held-out tokens that SAEs are judged on, and the protocol: `evaluation_text`
`recovery`             how much of a known truth a decoder found: `recovery`
=====================  ==============================================================================

Below them: `sources` (text to windows of tokens, with `corpora` and `token_arrays`), `harvest` (windows to
activations), `cache` (on disk), `buffers` (filled by all processes), `scaling`, `sizes`, `progress`.
"""

from trainers.activations.cache import CacheError
from trainers.activations.computed_rows import ComputedRows, write_rows
from trainers.activations.corpora import StreamedCorpus
from trainers.activations.evaluation_text import evaluation_windows
from trainers.activations.harvest import ActivationError
from trainers.activations.joined_rows import JoinedActivations
from trainers.activations.recovery import Recovery, recovery
from trainers.activations.scaling import Batch, Scaling
from trainers.activations.store import ActivationStore
from trainers.activations.stored import StoredActivations
from trainers.activations.stream import ActivationStream, activation_stream
from trainers.activations.synthetic import SyntheticStream, synthetic_stream
from trainers.activations.truth import KnownFeatures, ground_truth

__all__ = [
    "ActivationError",
    "ActivationStore",
    "ActivationStream",
    "Batch",
    "CacheError",
    "ComputedRows",
    "JoinedActivations",
    "KnownFeatures",
    "Recovery",
    "Scaling",
    "StoredActivations",
    "StreamedCorpus",
    "SyntheticStream",
    "activation_stream",
    "evaluation_windows",
    "ground_truth",
    "recovery",
    "synthetic_stream",
    "write_rows",
]
