"""Faults that can be planted in a Python file: one node of its syntax tree exchanged for another."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip

SYMMETRIC = ("maximum", "minimum", "max", "min", "hypot", "array_equal")
"""Functions whose arguments may change places."""


@dataclass(frozen=True)
class Fault:
    """One fault: the file, the line, the function around it, the code before and after.

    `place` counts the nodes of the file as `nodes` gives them, `choice` the changes of that node, `nth` the
    faults of one text in one function.
    """

    path: str
    line: int
    function: str
    before: str
    after: str
    place: int
    choice: int
    nth: int

    @property
    def text(self) -> str:
        """Where and what, without the line, which moves."""
        return f"{self.path} {self.function}: {self.before}  ->  {self.after}"

    @property
    def name(self) -> str:
        """The text, and which of several."""
        return f"{self.text} ({self.nth})" if self.nth > 1 else self.text

    def rank(self, seed: int) -> str:
        """A draw that depends on the fault alone, so that edits elsewhere leave the sample as it is."""
        return hashlib.sha256(f"{seed} {self.name} {self.choice}".encode()).hexdigest()


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """What a node is exchanged for: other operators, constants, arguments in another order, `not` dropped."""
    match node:
        case ast.BinOp(op=op) if type(op) in BINARY and not _text(node.left) and not _text(node.right):
            yield _with(node, op=BINARY[type(op)]())
        case ast.Compare(ops=[op, *others]):
            yield _with(node, ops=[COMPARED[type(op)](), *others])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return  # the constant changes
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value if value else 1.0)
        case ast.Call(func=f, args=[first, second, *others]) if _last(f) not in SYMMETRIC:
            if ast.dump(first) != ast.dump(second) and not _starred(first, second):
                yield _with(node, args=[second, first, *others])


def faults(path: str, source: str) -> list[Fault]:
    """All faults of a file."""
    found: list[Fault] = []
    for place, (function, node) in enumerate(nodes(ast.parse(source))):
        for choice, other in enumerate(changed(node)):
            before, after = ast.unparse(node), ast.unparse(ast.fix_missing_locations(other))
            fault = Fault(path, getattr(node, "lineno", 0), function, before, after, place, choice, 1)
            found.append(replace(fault, nth=1 + sum(f.text == fault.text for f in found)))
    return found


def planted(fault: Fault, source: str) -> str:
    """The source with the fault."""
    tree = ast.parse(source)
    target = next(node for place, (_, node) in enumerate(nodes(tree)) if place == fault.place)
    other = list(changed(target))[fault.choice]
    return ast.unparse(ast.fix_missing_locations(_Exchange(target, other).visit(tree)))


def nodes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The nodes that are run, each with its function; no texts, annotations, decorators, checks."""

    def inside(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, ast.JoinedStr | ast.Raise):
            return  # texts
        if isinstance(node, ast.keyword) and node.arg == "strict":
            return  # asserts that lengths are equal
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        own = [function, node.name] if isinstance(node, _NAMED) else [function]
        function = ".".join(part for part in own if part)
        yield function, node
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from inside(child, function)

    yield from inside(tree, "")


_NAMED = (ast.FunctionDef, ast.ClassDef)


class _Exchange(ast.NodeTransformer):
    def __init__(self, target: ast.AST, other: ast.AST) -> None:
        self.target, self.other = target, other

    def visit(self, node: ast.AST) -> ast.AST:
        return self.other if node is self.target else self.generic_visit(node)


def _text(node: ast.AST) -> bool:
    """Whether a node is a text, whose sums and products are no arithmetic."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _last(function: ast.AST) -> str:
    """The last part of a called function's name."""
    return ast.unparse(function).rpartition(".")[2]


def _starred(*arguments: ast.AST) -> bool:
    return any(isinstance(a, ast.Starred) for a in arguments)


def _with(node: ast.AST, **changes: object) -> ast.AST:
    other = deepcopy(node)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def sources(root: Path, places: tuple[str, ...]) -> list[str]:
    """The files of some places (files or folders), relative to the root, in order."""
    files = [
        f for p in places for f in (sorted((root / p).rglob("*.py")) if (root / p).is_dir() else [root / p])
    ]
    return [f.relative_to(root).as_posix() for f in files]
