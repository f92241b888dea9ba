"""Any bytes give a table or one clear line: no pickle, no eval, no code from files."""

import ast
import csv
import io
import json
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from frontier.readers import TableError, opening, read
from frontier.readers.recognise import KINDS

FIXTURES = Path(__file__).parent / "fixtures"
SAMPLES = [
    "sae_bench/core/sae_bench_pythia70m_sweep_gated_ctx128_0730/"
    "sae_bench_pythia70m_sweep_gated_ctx128_0730_blocks.4.hook_resid_post__trainer_0_eval_results.json",
    "sae_lens/my-release-blocks.4.hook_resid_post_topk_0_128_Skylion007_openwebtext.json",
    "sae_lens_2024/eval_results.csv",
    "pretrained/pretrained_saes.yaml",
    "dictionary_learning/saes_pythia70m_topk/resid_post_layer_3/trainer_0/eval_results.json",
    "openmoss/relu_0.json",
    "sparsify/wandb_export_2025-03-02.csv",
    "wandb_api/project.csv",
    "wandb_many/wandb_export.csv",
    "wandb_fork/wandb_export.csv",
]
"""One file of each tool."""

CONTENT = {name: (FIXTURES / name).read_bytes() for name in SAMPLES}
SWEEP = json.loads((FIXTURES / "dictionary_learning_2024" / "sweep.json").read_text())
CONTENT["sweep.json"] = json.dumps(dict(list(SWEEP.items())[:2])).encode()


def table_or_one_line(path):
    try:
        found = read(path)
    except TableError as error:
        assert "\n" not in str(error)
        assert len(str(error)) <= 1500
        return str(error)
    assert isinstance(found, pd.DataFrame)
    assert found["l0"].dtype == float
    return found


def refused(path, *words):
    message = table_or_one_line(path)
    assert isinstance(message, str), message
    assert path.name in message
    for word in words:
        assert word in message, message


@pytest.fixture
def write(tmp_path):
    def writer(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return writer


DEEP = {
    "lists": "[" * 100_000,
    "dicts": '{"metrics":' * 100_000,
    "a result": '{"eval_result_metrics": {"a": ' + "[" * 50_000 + "]" * 50_000 + "}}",
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_nesting_in_json(kind, write):
    refused(write("t.json", DEEP[kind]), "recursion")


@pytest.mark.parametrize("text", ["[" * 50_000, "- " * 50_000, "a: {" * 20_000, "? " * 20_000])
def test_deep_nesting_in_yaml(text, write):
    refused(write("t.yaml", text), "cannot be read as yaml")


@pytest.mark.parametrize(
    "cell", ["[" * 90_000, "-" * 90_000 + "1", "1+" * 90_000 + "1", "{'a':" * 5000, "not a dict", "(1,2)"]
)
def test_hostile_cells_of_the_public_api_export(cell, write):
    out = io.StringIO()
    csv.writer(out).writerows([["summary", "config", "name"], [cell, "{}", "r"]])
    refused(write("t.csv", out.getvalue()), "run r")


def test_a_cell_too_long(write):
    with pytest.raises(TableError, match="more than the"):
        opening.python_dict("{" + " " * opening.LARGEST_CELL + "}")


def test_yaml_runs_no_code_and_unfolds_nothing(write, tmp_path):
    mark = tmp_path / "was_here"
    refused(write("a.yaml", f"!!python/object/apply:os.system ['touch {mark}']"), "cannot be read as yaml")
    refused(
        write("b.yaml", f"r:\n  saes:\n  - !!python/object/apply:os.system ['touch {mark}']"),
        "cannot be read",
    )
    assert not mark.exists()
    lines = ["a0: &a0 {saes: [{id: x, l0: 1}]}"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)
    ]
    refused(write("laughs.yaml", "\n".join(lines)), "aliases")
    refused(write("other.yaml", "a: 1"), "pretrained_saes.yaml only")


def test_files_larger_than_the_limit_are_refused_unread(write, monkeypatch):
    path = write("t.json", '{"l0": 1, "mse": 2}')
    with path.open("r+b") as file:
        file.truncate(opening.LARGEST + 1)  # sparse: takes no room
    tracemalloc.start()
    refused(path, "256 MB are read")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", CONTENT)
def test_truncated_files(name, write):
    whole = CONTENT[name]
    for part in (0.01, 0.3, 0.7, 0.97):
        table_or_one_line(write(f"t{Path(name).suffix}", whole[: int(len(whole) * part)]))


@pytest.mark.parametrize("name", [n for n in CONTENT if n.endswith(".json")])
def test_wrong_encodings(name, write):
    whole = CONTENT[name].decode()
    assert isinstance(table_or_one_line(write("a_eval_results.json", whole.encode("utf-16"))), pd.DataFrame)
    assert isinstance(
        table_or_one_line(write("b_eval_results.json", whole.encode("utf-8-sig"))), pd.DataFrame
    )
    spoiled = whole.encode().replace(b'"', b'"\xff', 1)
    refused(write("c_eval_results.json", spoiled), "not UTF-8")


def test_no_reader_can_run_code():
    """Nothing in the readers calls eval, exec, compile, pickle, torch or an unsafe YAML loader."""
    import frontier.readers

    banned = {"eval", "exec", "compile", "__import__", "unsafe_load", "full_load", "read_pickle"}
    for path in Path(frontier.readers.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                owner = node.func.value if isinstance(node.func, ast.Attribute) else None
                assert name not in banned or (name == "compile" and getattr(owner, "id", "") == "re"), path
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {a.name for a in node.names} | {getattr(node, "module", "")}
                assert not names & {"pickle", "marshal", "shelve", "torch", "dill", "joblib"}, path


# --- fuzz ----------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["\ud800", "1e999", "NaN", -1, 10**400, "9" * 5000, "standard", "topk", "\0", "50%"])
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3)
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def changed_json(draw):
    """A tool's JSON with one to three values replaced by anything, or removed."""
    name = draw(st.sampled_from([n for n in CONTENT if n.endswith(".json")]))
    content = json.loads(CONTENT[name])
    for _ in range(draw(st.integers(1, 3))):
        left = [p for p in places(content) if p]
        if not left:  # an earlier round removed the last value
            break
        *way, last = draw(st.sampled_from(left))
        inner = content
        try:
            for key in way:
                inner = inner[key]
            if draw(st.booleans()):
                inner[last] = draw(values)
            else:
                del inner[last]
        except (KeyError, IndexError, TypeError):
            break
    return ".json", json.dumps(content).encode()


@st.composite
def changed_bytes(draw):
    """A tool's file with a few bytes changed, or cut."""
    name = draw(st.sampled_from(list(CONTENT)))
    base = bytearray(CONTENT[name])
    for _ in range(draw(st.integers(1, 5))):
        base[draw(st.integers(0, len(base) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.sampled_from([len(base), draw(st.integers(1, len(base)))]))
    return Path(name).suffix, bytes(base[:cut])


@st.composite
def changed_cells(draw):
    """A CSV export with some cells replaced by any text."""
    name = draw(st.sampled_from([n for n in CONTENT if n.endswith(".csv")]))
    rows = list(csv.reader(io.StringIO(CONTENT[name].decode())))[:4]
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, len(rows[row]) - 1))
        rows[row][column] = draw(
            st.text(max_size=8) | st.sampled_from(["{}", "{'l0': {}}", "nan", "1e400", "k", "Name"])
        )
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return ".csv", out.getvalue().encode("utf-8", "surrogatepass")


keys = st.sampled_from(
    "l0 metrics eval_cfg sae_cfg eval_result_metrics eval_type_id frac_recovered basic_eval_results saes k"
    " fvu/a metrics/l0 metrics/downstream_loss_ratio _runtime sparsity mse unique_id".split()
)
any_json = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=6)
).map(lambda v: (".json", json.dumps(v).encode()))
any_bytes = st.tuples(st.sampled_from(KINDS), st.binary(max_size=60))
any_yaml = st.tuples(
    st.just(".yaml"), st.text(st.sampled_from("saes: -[]{}l0.1\n&*!|>'\"?#"), max_size=60).map(str.encode)
)


@pytest.mark.slow
@example(suffix_and_content=(".json", b'{"sparsity": []}'))
@example(suffix_and_content=(".json", b'{"sparsity": null}'))
@settings(max_examples=350, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed_json() | changed_bytes() | changed_cells() | any_json | any_bytes | any_yaml)
@example((".json", b'{"eval_result_metrics": {"sparsity": {"l0": [1]}, "x": {"mse": "a"}}}'))
@example((".json", b'[{"metrics": {"l0": {"l0": 1e999}}, "eval_cfg": []}]'))
@example((".json", b'{"basic_eval_results": {"a": {"l0": true}}}'))
@example((".yaml", b"r: {saes: [{id: [1], l0: {a: 1}}]}"))
def test_any_content_gives_a_table_or_one_line(tmp_path, suffix_and_content):
    suffix, content = suffix_and_content
    path = tmp_path / f"fuzz_eval_results{suffix}"
    path.write_bytes(content)
    table_or_one_line(path)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed_json() | changed_bytes() | any_json)
def test_a_spoiled_file_does_not_stop_a_folder(tmp_path, suffix_and_content):
    suffix, content = suffix_and_content
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "good.csv").write_text("l0,mse\n1,2\n3,4\n")
    (folder / f"fuzz_eval_results{suffix}").write_bytes(content)
    found = table_or_one_line(folder)
    assert isinstance(found, pd.DataFrame), found
    assert {1.0, 3.0} <= set(found["l0"])
