"""What comes from elsewhere runs no code and writes nowhere else; what is secret is not kept."""

import ast
import importlib.util
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import attn
import experiments
from experiments.cli import main
from experiments.data import tatoeba, tokenizers
from experiments.data.sets import make_builder
from experiments.errors import InputError
from experiments.faults import runs
from experiments.reports import write_report
from experiments.reports.heads import read_heads
from experiments.training.checkpoint import Checkpoints
from experiments.training.progress import Display
from experiments.weights.checkpoint import load
from tests.experiments.reports.fabricate import fabricate
from tests.experiments.reports.fabricate_heads import fabricate_heads

PICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
EVALUATORS = {"eval", "exec", "compile", "__import__"}
ALLOWED: set[tuple[str, str]] = set()
"""(file, what) that may: none. The library submitit pickles jobs for its own processes."""


def risks(tree):
    """What in a module may run code that a file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from (name for name in names if name.partition(".")[0] in PICKLERS)
        if isinstance(node, ast.Call):
            yield from _risky_call(node)


def _risky_call(call):
    called = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if called in EVALUATORS:
        yield called
    if called == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only"
    if given.get("allow_pickle", "False") != "False":
        yield f"{called} with allow_pickle"
    if called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
        yield called


def sources():
    for package in (attn, experiments):
        root = Path(package.__file__).parent
        for path in root.rglob("*.py"):
            yield path.relative_to(root.parent).as_posix(), path


def test_no_module_reads_pickles_or_evaluates_text():
    found = {
        (name, risk)
        for name, path in sources()
        for risk in risks(ast.parse(path.read_text("utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from dill import load", "import joblib.memory", "eval(x)", "exec(x)",
        "torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)",
        "np.load(x, allow_pickle=flag)", "yaml.load(x)",
    ],
)  # fmt: skip
def test_the_scan_finds(code):
    assert list(risks(ast.parse(code)))


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path):
    """A pickle, and a check that nobody has read it."""
    gone_off = tmp_path / "gone-off"
    yield pickle.dumps(Bomb(gone_off))
    assert not gone_off.exists()


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "gone-off")))
    assert (tmp_path / "gone-off").exists()


@pytest.mark.usefixtures("unchecked")
def test_a_pickle_in_place_of_arrays_is_refused(tmp_path, bomb):
    run = tmp_path / "run"
    run.mkdir()
    fabricate_heads(run)
    archive = io.BytesIO()
    with np.load(run / "heads.npz") as weights:
        names = list(weights.files)
    objects = np.empty(1, object)
    objects[0] = Bomb(tmp_path / "gone-off")
    np.savez(archive, **dict.fromkeys(names, objects))
    for data in (bomb, archive.getvalue()):
        (run / "heads.npz").write_bytes(data)
        with pytest.raises(InputError, match=r"heads\.npz: cannot be read"):
            read_heads(run)


def test_a_pickle_in_place_of_weights_is_refused(tmp_path, bomb):
    theirs = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    theirs |= {"vocab_size": 11, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    (tmp_path / "pytorch_model.bin").write_bytes(bomb)
    with pytest.raises(InputError, match="pickled files are not read"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(bomb)
    with pytest.raises(InputError, match="is damaged"):
        load(tmp_path)


# Orbax leaves reads behind when another read of the same checkpoint fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pickle_in_place_of_a_checkpoint_is_passed_over(tmp_path, bomb):
    state = {"weights": np.arange(6.0, dtype=np.float32)}
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (1, 2):
        checkpoints.save(step, state, {})
    checkpoints.close()
    for path in (tmp_path / "checkpoints" / "2").rglob("*"):
        if path.is_file():
            path.write_bytes(bomb)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    found = checkpoints.restore(state)
    checkpoints.close()
    assert found.step == 1


@pytest.mark.parametrize("kind", [tokenizers.Symbols, tokenizers.SentencePiece])
def test_a_pickle_in_place_of_a_tokenizer_is_refused(tmp_path, bomb, kind):
    (tmp_path / kind.FILE).write_bytes(bomb)
    with pytest.raises(InputError, match="is damaged"):
        tokenizers.load(tmp_path)


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "a/../../elsewhere", "", "a/b"])
def test_results_cannot_name_a_folder_elsewhere(tmp_path, name):
    folder = tmp_path / "inner" / "comparison"
    folder.mkdir(parents=True)
    results = fabricate(folder, models={"rnnsearch": 14.0}, seeds=1)
    for place in (tmp_path / "inner" / "elsewhere", folder / "a" / "b"):
        place.mkdir(parents=True)
    results["runs"][0]["folder"] = name
    (folder / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match="expected one right in"):
        write_report(folder)
    assert list((tmp_path / "inner" / "elsewhere").iterdir()) == []


def test_results_cannot_name_a_module_to_import(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "groups").mkdir()
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('gone-off').touch()")
    published = Path(experiments.__file__).parent / "results" / "ablations"
    results = json.loads((published / "qk_scaling-cpu.json").read_text())
    for suite in ("evil", "evil.inner", "tests.experiments.ablations.toy_suite"):
        (tmp_path / "results.json").write_text(json.dumps(results | {"suite": suite}))
        assert main(["report", str(tmp_path)]) == 2
        assert "is not of this code base" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "gone-off").exists()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../../x.safetensors"])
def test_weights_cannot_name_files_elsewhere(tmp_path, name):
    theirs = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    theirs |= {"vocab_size": 11, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    index = {"weight_map": {"wte.weight": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="expected files beside it"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../../elsewhere", "/elsewhere", "wmt14_translate/../../x", "wmt14_translate/de-en:../../1",
     "huggingface:some/set", "kaggle:some/set"],
)  # fmt: skip
def test_a_task_cannot_name_a_folder_or_code_elsewhere(tmp_path, name):
    with pytest.raises(InputError, match="task"):
        make_builder(name, tmp_path / "data")
    assert list(tmp_path.rglob("*")) == []


def test_an_archive_is_never_unpacked(tmp_path):
    path = tmp_path / "inner" / "sentences.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(tatoeba.MEMBER, "Go.\tGeh.\n")
        archive.writestr("../elsewhere.txt", "no")
    assert tatoeba.read_archive(path) == [("Geh.", "Go.")]
    assert [p.name for p in tmp_path.rglob("*")] == ["inner", "sentences.zip"]


HOSTILE = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>"


def test_pages_show_names_as_text(tmp_path):
    results = fabricate(tmp_path, models={"rnnsearch": 14.0, "seq2seq": 18.0}, seeds=1)
    text = json.dumps(results).replace("rnnsearch", "MODEL")
    text = text.replace("MODEL-seed0", "rnnsearch-seed0")  # the folder's name stays
    value = json.loads(text.replace("MODEL", json.dumps(HOSTILE)[1:-1]))
    value |= dict.fromkeys(("command", "date", "task"), HOSTILE)
    value["hardware"] = value["versions"] = {HOSTILE: HOSTILE}
    (tmp_path / "results.json").write_text(json.dumps(value))
    run = tmp_path / "rnnsearch-seed0"
    for name in ("alignments.json", "test.json", "config.json"):
        text = (run / name).read_text()
        for word in ('"cat"', '"K AE1 T"', '"pronunciation"', '"K"'):
            text = text.replace(word, json.dumps(HOSTILE))
        (run / name).write_text(text)
    fabricate_heads(run)
    heads = json.loads((run / "heads.json").read_text())
    for item in heads["items"]:
        for side in ("source", "target"):
            item[side] = [HOSTILE for _ in item[side]]
    (run / "heads.json").write_text(json.dumps(heads))
    pages = [write_report(tmp_path), run / "heads.html"]
    for page in pages:
        text = page.read_text()
        assert "alert" in text  # the names are shown
        assert "<script>alert" not in text
        assert "<img src=x" not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_runs_name_is_no_markup(terminal):
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=terminal)
    with Display(console, "run[/][bold]", 0, 10) as display:
        display.advance(1)
        display.report(1, 1.0, 1.0)
        display.say("goes on")
    assert "run[/][bold]: goes on" in shown.getvalue()


SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "HF_TOKEN": "hf_hushhushhush",
    "MY_SECRET": "tell-nobody-this",
    "CLOUD_ACCESS_KEY": "cloud-key-4711",
    "ADMIN_PASSWORD": "correct-horse",
}


def with_secrets(folder):
    os.environ.update(SECRETS)


def test_secrets_are_kept_nowhere(tmp_path):
    """The whole of a run's folder and output: of one that succeeds, and of one that fails."""
    told = ["--train.wandb", "offline"] if importlib.util.find_spec("wandb") else []
    wild = ["--optimizer.learning-rate", "1e37", "--optimizer.warmup-steps", "0"]
    # A path with a secret in it comes into messages.
    failing = tmp_path / SECRETS["MY_SECRET"]
    for folder, flags, expected in ((tmp_path / "sound", told, 0), (failing, wild, 1)):
        code, said = runs.finish(folder, *flags, before=with_secrets)
        assert code == expected, said
    assert "not finite" in said
    kept = [path for path in (tmp_path / "sound").rglob("*") if path.is_file()]
    kept += [tmp_path / "sound.txt", *failing.glob("*.jsonl")]
    names = {"config.json", "metrics.jsonl", "launches.jsonl", "errors-0.jsonl", "sound.txt"}
    assert names <= {path.name for path in kept}
    kept = {path: path.read_bytes() for path in kept}
    last = next(line for line in said.splitlines() if line.startswith("error: "))
    kept[Path("the last message")] = last.encode()
    for secret in SECRETS.values():
        assert [path for path, data in kept.items() if secret.encode() in data] == []
