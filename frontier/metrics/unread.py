"""What the names of columns that nobody reads tell: how SAEs were measured, trained, placed or called."""

from __future__ import annotations

import re

from frontier.metrics.names import slug
from frontier.metrics.one_sae import KNOBS, STEPS, TOKENS, last_word

_MEASURED = re.compile(
    r"(?:^|_)(?:n_?)?(?:ctx|context|seq|sequence|bos|eos|prepend|special|eval|evaluation|evaluated"
    r"|corpus|dataset|text|split|prompts?|tokenizer|max_len|max_length|noise|temperature|ablation|ablated"
    r"|revision)(?:_|$)"
)
_FOUND = re.compile(r"(?:^|_)(?:dead|alive|loss|score|acc|accuracy|auc|time|seconds|runtime)(?:_|$)")
"""Words in names of what an evaluation finds."""
_PLACES = re.compile(r"(?:^|_)(?:layer|depth|block|position|hook|head)(?:_|$)")
_NAMES = re.compile(
    r"(?:^|_)(?:class|arch|activation|activation_fn|act_fn|nonlinearity|type|kind|label|names?|title|colou?r"
    r"|marker|symbol|style|short|long|paper|citation|authors?|reference|release|id|notes?|comments?|desc"
    r"|description|file|filename|path|folder|dir|url|link|date|time|datetime|created|updated|version|commit"
    r"|hash|status|state|sweep|group|tags?|job|host|user)(?:_|$)"
)
_BUDGET = re.compile(
    r"(?:(?:n|num|total|train|training)_)*(?:tokens|samples|steps|epochs|iterations|updates)"
    r"(?:_(?:trained|seen|k|m|b|t|millions?|billions?))?"
)
_RECIPE = re.compile(
    r"(?:^|_)(?:lr|learning|rate|beta\d?|betas|momentum|eps|epsilon|decay|warm|warmup|coef|coeff|coefficient|alpha"
    r"|lambda|aux\w*|penalty|bandwidth|threshold|clip|grad|init|dropout|batch|anneal\w*|resampl\w*|optim\w*|scale"
    r"|expansion|group|schedule|steps?|temperature|tau|weight|norm|power|p)(?:_|$)"
)


def is_measured(name: str) -> bool:
    """Whether a column says how SAEs were evaluated.

    >>> [is_measured(name) for name in ("eval.ctx_len", "include_bos", "eval/n_dead", "aux_alpha")]
    [True, True, False, False]
    """
    return _MEASURED.search(slug(name)) is not None and not _FOUND.search(slug(name))


def is_place(name: str) -> bool:
    """Whether a column says where in a model SAEs stand."""
    return _PLACES.search(slug(name)) is not None


def is_name(name: str) -> bool:
    """Whether a column names a family, a paper or a file."""
    return _NAMES.search(slug(name)) is not None


def is_budget(name: str) -> bool:
    """Whether a column says for how long SAEs were trained: 'n_tokens', 'tokens (M)', 'trainer.steps'."""
    last = last_word(name)
    return last in STEPS | TOKENS or _BUDGET.fullmatch(last) is not None


def is_recipe(name: str) -> bool:
    """Whether a column holds what a search over recipes tries: 'adam_beta1', 'warmup_steps', 'lr_scale'."""
    return not is_measured(name) and (last_word(name) in KNOBS or _RECIPE.search(slug(name)) is not None)
