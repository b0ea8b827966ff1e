"""Settings as people mistype them, or as nobody should write them: a line that names them."""

import errno
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from program import SMOKE, command

from llm_lightning.commands.before_runs import check_settings, runs_folder
from llm_lightning.commands.command_line import command_line_problem
from llm_lightning.commands.failures import PROGRAM, USER, reported
from llm_lightning.config.composition import composed
from llm_lightning.config.experiments import list_experiments
from llm_lightning.network import Unavailable, cache_dir
from llm_lightning.runs.errors import UserError

T = "+experiment=last_block"

MISTYPED = [
    # What a line cannot hold, found before anything is imported.
    ("optim.lr", "there is no such command"),
    ("optim.lr= =", "in quotes it can: \"optim.lr=' ='\""),
    ("data.path=a=b.csv", "in quotes it can: \"data.path='a=b.csv'\""),
    ("data.path=my data/epoch=3,v2 (final)/ré views.csv", "v2 (final)/ré views.csv'\""),
    ("data.path=plain (1).csv", "in quotes it can: \"data.path='plain (1).csv'\""),
    ("data.path=é.csv", "in quotes it can: \"data.path='é.csv'\""),
    ("data.path=a$b=c.csv", "'data.path='\"'\"'a$b=c.csv'\"'\"''"),
    ("data.path=a,b.csv", "if it is one value, quote it: \"data.path='a,b.csv'\""),
    ("data.path=[a", "data.path=[a"),
    ("runs_dir=", "runs_dir is empty"),
    ("runs_dir=/", "runs_dir is the root of the file system"),
    ("runs_dir=null", "runs_dir is empty"),
    ("runs_dir=~/runs", "the shell did not replace ~; write runs_dir=/"),
    ("runs_dir='~/runs'", "the shell did not replace ~; write runs_dir=/"),
    ("data.path=~/texts.csv", "the shell did not replace ~; write data.path=/"),
    ("runs_dir=~nobody_at_all/x", "there is no such user"),
    ("run_dir=x", "set runs_dir"),
    ("model=nanoo", "there is no model of this name; did you mean nano?"),
    ("model=gpt2_smal", "did you mean gpt2_small?"),
    ("data=tabel", "did you mean table?"),
    ("task=clasify", "did you mean classify?"),
    ("finetune=lastblock", "did you mean last_block?"),
    ("trainer=smok", "did you mean smoke?"),
    ("+sweep=lora_serch", "did you mean lora_search?"),
    ("hydra/launcher=paralel", "did you mean parallel?"),
    ("model=xyz", "There are: bert_base"),
    ("model=null", "model=null: choose one of bert_base"),
]

WRONG = [
    # Names.
    ("optim.lrr=1", "there is no setting optim.lrr; did you mean optim.lr?"),
    ("lr=1", "there is no setting lr; did you mean optim.lr?"),
    ("batch_size=8", "did you mean data.batch_size?"),
    ("sead=1", "there is no setting sead; did you mean seed?"),
    ("data.bacth_size=8", "did you mean data.batch_size?"),
    ("trainer.batch_size=8", "did you mean data.batch_size?"),
    ("optim.max_epochs=8", "did you mean trainer.max_epochs?"),
    ("+optim.lrr=1", "there is no setting optim.lrr; did you mean optim.lr?"),
    (
        "+trainer.max_epoch=1",
        "there is no setting trainer.max_epoch; did you mean trainer.max_epochs?",
    ),
    ("+sead=1", "there is no setting sead; did you mean seed?"),
    (
        "~callbacks.progres",
        "there is no setting callbacks.progres; did you mean callbacks.progress?",
    ),
    ("+model=nano", "model"),
    # Types.
    ("data.batch_size=eight", "data.batch_size=eight: Value 'eight' of type 'str' could not"),
    ("data.batch_size=2**70", "data.batch_size=2**70: Value '2**70' of type 'str'"),
    ("data.batch_size=1.5", "could not be converted to Integer"),
    ("optim.lr=fast", "optim.lr=fast: Value 'fast' of type 'str' could not be converted to Float"),
    ("evaluate=worst", "expected one of [last, best]"),
    ("rerun=perhaps", "rerun=perhaps: Value 'perhaps' is not a valid bool"),
    # Numbers.
    ("optim.lr=nan", "optim.lr must be a finite number, got nan"),
    ("optim.lr=inf", "optim.lr must be a finite number, got inf"),
    ("optim.lr=-1", "optim.lr must be above 0, got -1.0"),
    ("optim.lr=0", "optim.lr must be above 0, got 0"),
    ("optim.weight_decay=nan", "optim.weight_decay must be a finite number"),
    ("optim.weight_decay=-0.1", "optim.weight_decay must be at least 0"),
    ("optim.eps=nan", "optim.eps must be a finite number"),
    ("optim.betas=[nan,0.9]", "optim.betas[0] must be a finite number"),
    ("trainer.gradient_clip_val=nan", "trainer.gradient_clip_val must be a finite number"),
    ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val must be null or >= 0, got -1"),
    ("trainer.gradient_clip_val=much", "must be null or >= 0, got 'much'"),
    ("data.batch_size=1180591620717411303424", "data.batch_size must be below 2**31"),
    ("data.batch_size=0", "data.batch_size must be at least 1, got 0"),
    ("trainer.max_epochs=100000000000000000000", "trainer.max_epochs must be below 2**31"),
    ("trainer.max_epochs=-1", "trainer.max_epochs must be a whole number >= 0"),
    ("trainer.max_epochs=1e20", "trainer.max_epochs must be a whole number >= 0"),
    ("trainer.max_steps=0", "trainer.max_steps must be -1 or a whole number >= 1"),
    ("trainer.accumulate_grad_batches=0", "must be a whole number >= 1, got 0"),
    (
        "trainer.log_every_n_steps=0",
        "trainer.log_every_n_steps must be null or a whole number >= 1",
    ),
    (
        "+trainer.check_val_every_n_epoch=0",
        "trainer.check_val_every_n_epoch must be null or a whole",
    ),
    ("+trainer.val_check_interval=0", "trainer.val_check_interval must be a number of batches"),
    ("+callbacks.checkpoint.every_n_epochs=0", "callbacks.checkpoint.every_n_epochs must be null"),
    ("+callbacks.resume.every_n_train_steps=-5", "callbacks.resume.every_n_train_steps must be"),
    (
        "trainer.limit_train_batches=0",
        "trainer.limit_train_batches must be above 0: there is nothing",
    ),
    ("trainer.limit_test_batches=0", "trainer.limit_test_batches must be above 0"),
    ("trainer.limit_train_batches=-1", "must be a number of batches >= 1, or a share in (0, 1]"),
    ("trainer.limit_val_batches=1.5", "must be a number of batches >= 1, or a share in (0, 1]"),
    ("trainer.limit_train_batches=nan", "trainer.limit_train_batches must be a finite number"),
    ("trainer.devices=0", "trainer.devices must be a whole number >= 1, got 0"),
    ("seed=-1", "seed must be between 0 and 2**32 - 1"),
    ("seed=99999999999999999999", "seed must be between 0 and 2**32 - 1"),
    ("model.n_layer=0", "model.n_layer must be at least 1"),
    ("model.vocab_size=1000000000000", "model.vocab_size must be below 2**31"),
    ("model.attn_pdrop=nan", "model.attn_pdrop must be a finite number"),
    ("finetune.num_blocks=100000000000", "finetune.num_blocks must be below 2**31"),
    ("finetune=last_n_blocks", "finetune.num_blocks has no default: give it a value"),
    ("baselines=[words]", "baselines must be among majority"),
    # Classes: nothing is made of what is refused.
    ("callbacks.progress._target_=os.system", "only classes of llm_lightning and lightning"),
    ("+callbacks.x._target_=os.system", "callbacks.x._target_=os.system is refused"),
    ("+callbacks.x={_target_: subprocess.run, args: [id]}", "callbacks.x._target_=subprocess.run"),
    ("+callbacks.x={_target_: lightning.Trainer}", "callbacks.x._target_ must be a Callback"),
    (
        "+callbacks.x={_target_: lightning.pytorch.callbacks.Nothing}",
        "is no class that can be used",
    ),
    ("+callbacks.x={_target_: llm_lightning.commands.main.main}", "is no class that can be used"),
    ("+callbacks.x=null", "callbacks.x has no _target_: ~callbacks.x removes it"),
    ("+callbacks.x={patience: 3}", "callbacks.x has no _target_"),
    (
        "+callbacks.progress.inner={_target_: os.system}",
        "callbacks.progress.inner._target_=os.system",
    ),
    ("+loggers.x._target_=lightning.pytorch.callbacks.EarlyStopping", "must be a Logger"),
    ("+loggers.x={_target_: builtins.eval}", "loggers.x._target_=builtins.eval is refused"),
    ("trainer._target_=os.system", "trainer._target_=os.system is refused"),
    ("trainer._target_=lightning.LightningModule", "trainer._target_ must be a Trainer"),
    ("trainer.plugins=[{_target_: os.system}]", "trainer.plugins[0]._target_=os.system is refused"),
    ("+optim._target_=os.system", "there is no setting optim._target_"),
    ("model._target_=os.system", "_target_"),
    ("data._target_=os.system", "data._target_ must be llm_lightning.data.spam.SmsSpam"),
    ("task._target_=os.system", "task._target_ must be"),
    ("finetune._target_=os.system", "finetune._target_ must be"),
]


def told(*overrides: str) -> str:
    """What is said about a command line before anything is built or written."""
    problem = command_line_problem([T, *overrides], list_experiments(), ["predict"])
    if problem is not None:
        return problem
    try:
        check_settings([T, *overrides])
    except ValueError as error:
        return str(error)
    return "nothing"


def test_the_tables_are_tables() -> None:
    assert len(MISTYPED) + len(WRONG) >= 50


@pytest.mark.parametrize(("override", "message"), MISTYPED, ids=lambda one: one[:50])
def test_a_mistyped_line_is_one_message(override: str, message: str) -> None:
    assert message in told(override)


def test_an_experiment_that_does_not_fit_the_model_says_which_setting_does_not() -> None:
    message = "experiment/row_17 sets model.causal, which model=smollm2_135m does not have"
    with pytest.raises(ValueError, match=re.escape(message)):
        composed(["+experiment=row_17", "model=smollm2_135m"])


@pytest.mark.slow
@pytest.mark.parametrize(("override", "message"), WRONG, ids=lambda one: one[:50])
def test_a_wrong_setting_is_one_message(override: str, message: str) -> None:
    shown = told(override)
    assert message in shown
    assert len(shown.splitlines()) <= 2, shown


def test_pasting_what_the_message_says_works() -> None:
    path = "my data/epoch=3,v2 (final)/it's ré.csv"
    pasted = told(f"data.path={path}").split("in quotes it can: ")[1]
    assert pasted == "\"data.path='my data/epoch=3,v2 (final)/it\\'s ré.csv'\"" or "'" in pasted
    (argument,) = shlex.split(pasted)
    assert command_line_problem([T, argument], list_experiments(), []) is None


# --- the exit status ------------------------------------------------------------------------------


class PanicException(BaseException):
    """As Rust libraries raise it: no Exception, so that nobody swallows it."""


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/seed_1/summary.json")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("data.path must exist"), USER, "data.path must exist"),
        (Unavailable("weights", "no network", "connect"), USER, "weights could not be downloaded"),
        (full_disk(), USER, "runs/a/seed_1/summary.json: No space left on device: free some"),
        (OSError(errno.EROFS, "Read-only file system", "cache/x"), USER, "cache/x: Read-only file"),
        (PermissionError(errno.EACCES, "Permission denied", "w"), USER, "w: Permission denied"),
        (OSError("no number"), PROGRAM, "OSError: no number"),
        (ValueError("odd\nmore"), PROGRAM, "ValueError: odd This is a fault of the program"),
        (KeyError("x"), PROGRAM, "KeyError: 'x'"),
        (RecursionError("too deep"), PROGRAM, "RecursionError: too deep"),
        (PanicException("stack overflow"), PROGRAM, "PanicException: stack overflow"),
    ],
)
def test_an_error_is_one_message_and_says_whose_it_is(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reported(raising(error)) == status
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in told
    assert "Traceback" not in told
    assert ("--debug shows where" in told) == (status == PROGRAM)


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize("error", [UserError("x"), ValueError("x"), PanicException("x")])
def test_where_it_was_raised_is_shown_on_demand(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(type(error)):
        reported(raising(error))


@pytest.mark.parametrize("end", [KeyboardInterrupt("x"), SystemExit(130), BrokenPipeError()])
def test_what_ends_a_process_on_purpose_is_no_error(end: BaseException) -> None:
    with pytest.raises(type(end)):
        reported(raising(end))


def test_debug_is_an_option_of_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setitem(os.environ, "HYDRA_FULL_ERROR", "0")  # restored afterwards
    with pytest.raises(ValueError, match="nowhere"):
        command(monkeypatch, "predict", "nowhere", "text", "--debug")


# --- folders --------------------------------------------------------------------------------------


def test_folders_made_for_nothing_are_removed_again(tmp_path: Path) -> None:
    runs = tmp_path / "new" / "deep" / "runs"
    with runs_folder(runs):
        assert runs.is_dir()
    assert list(tmp_path.iterdir()) == []
    with runs_folder(runs):
        (runs / "run").mkdir()
    assert (runs / "run").is_dir()
    (runs / "run").rmdir()
    with runs_folder(runs):
        pass
    assert runs.is_dir(), "it was there before"


@pytest.mark.parametrize("kind", ["a file", "below a file", "too long", "a system's"])
def test_a_folder_that_cannot_be_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("mine")
    folder, message = {
        "a file": (tmp_path / "file", "there is a file of this name"),
        "below a file": (tmp_path / "file" / "runs", "there is a file of this name"),
        "too long": (tmp_path / ("x" * 5000), r"… \(5,\d+ characters\) cannot be made: File name"),
        "a system's": (Path("/proc/nothing/runs"), "cannot be made: No such file"),
    }[kind]
    with pytest.raises(ValueError, match=message) as caught, runs_folder(folder):
        pass
    assert str(caught.value).startswith("runs_dir=")
    assert len(str(caught.value)) < 300
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # permissions do not stop root
    with pytest.raises(ValueError, match="no permission to write there"), runs_folder(tmp_path):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "runs")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(ValueError, match="cannot be made: Permission denied"),
        runs_folder(tmp_path / "runs"),
    ):
        pass


def test_without_a_home_folder_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("LLM_LIGHTNING_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="set HOME, or LLM_LIGHTNING_CACHE"):
        cache_dir()


# --- whole commands -------------------------------------------------------------------------------

WHOLE = [
    ("optim.lr=nan", "optim.lr must be a finite number, got nan"),
    ("optim.lrr=1", "did you mean optim.lr?"),
    ("+callbacks.x._target_=os.system", "os.system is refused"),
    ("objective=perplexity", "objective must be one of loss"),
    ("runs_dir=taken", "runs_dir=taken cannot be made: there is a file of this name"),
    ("data.path=gone.zip", "must be an existing file or folder, got gone.zip"),
    ("task.pooling=middle", "task.pooling must be one of"),
    (
        "data.batch_size=100000 data.drop_last=true data.padding=batch",
        "data.drop_last=true drops all training examples",
    ),
    ("trainer.limit_val_batches=0.001", "leaves none of the"),
    ("finetune=lora finetune.rank=1000000000", "finetune.rank=1,000,000,000 makes adapters of"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize(("settings", "message"), WHOLE, ids=lambda one: one[:40])
def test_a_refused_command_says_why_and_leaves_nothing(
    settings: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("taken").write_text("mine")
    assert command(monkeypatch, T, *SMOKE, *settings.split()) == USER
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in told
    assert "Traceback" not in told
    left = {path.name for path in Path().iterdir()}
    assert left <= {"taken", "cache"}, left


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(*_: object, **__: object) -> None:
        raise full_disk()

    monkeypatch.setattr("llm_lightning.runs.network_job.write_summary", write)
    assert command(monkeypatch, T, *SMOKE) == USER
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "summary.json: No space left on device: free some" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("choice", ["hydra/launcher=ray", "hydra/launcher=slurm"])
def test_a_plugin_that_is_missing_with_its_parent_is_named(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ``hydra_plugins`` at all: looking for a child raises."""

    def without_parent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'hydra_plugins'", name="hydra_plugins")

    monkeypatch.setattr("llm_lightning.presentation.extras.find_spec", without_parent)
    with pytest.raises(ValueError, match=r"pip install 'llm-lightning\["):
        check_settings(["+experiment=lora", choice])
