import subprocess
import sys
from pathlib import Path

import pytest
from bad_input.tiny_runs import write_classifier_run

HEAVY = (
    "lightning", "pandas", "torchmetrics", "matplotlib", "scipy", "sympy", "transformers", "hydra",
    "torch._dynamo",
)  # fmt: skip


def run(body: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command, whose ``main`` has this body, in a process of its own."""
    script = (
        "from llm_lightning.commands.startup import run_and_exit\n"
        f"def main():\n    {body}\n"
        "run_and_exit(main)\n"
    )
    return subprocess.run([sys.executable, "-c", script], text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("status", [0, 1])
def test_a_command_ends_with_its_status(status: int) -> None:
    done = run(f"print('said'); return {status}", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, "said\n", "")


@pytest.mark.parametrize("length", [1, 100_000])  # within and beyond what Python holds back
def test_a_reader_that_has_seen_enough_is_no_error(length: int) -> None:
    reader = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    reader.wait()  # whatever is written to it now finds nobody
    body = f"print('x' * {length}); return 1"
    done = run(body, stdout=reader.stdin, stderr=subprocess.PIPE)
    assert reader.stdin is not None
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "told"), [("", "interrupted"), ("'3 are kept'", "interrupted: 3 are kept")]
)
def test_an_interruption_is_told_without_a_trace(words: str, told: str) -> None:
    done = run(f"raise KeyboardInterrupt({words})", capture_output=True)
    assert done.returncode == 130
    assert " ".join(done.stderr.replace("│", " ").split()).split(" ╰")[0].endswith(told)
    assert "Traceback" not in done.stderr


def test_predict_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    run = write_classifier_run(tmp_path)
    script = (
        "import sys\n"
        "from llm_lightning.commands import main\n"
        f"status = main.main(['predict', {str(run)!r}, 'You won a prize!'])\n"
        f"print(status, [name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert done.stdout.splitlines()[-1:] == ["0 []"], done.stderr


def test_what_will_be_run_is_said_before_anything_heavy_is_imported() -> None:
    script = (
        "import sys\n"
        "class NothingHeavy:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name in {('torch', *HEAVY)} and name != 'hydra':\n"
        "            raise SystemExit(9)\n"
        "sys.meta_path.insert(0, NothingHeavy())\n"
        "from llm_lightning.commands import main\n"
        "main.main(['+experiment=last_block', 'optim.lr=1e-4'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    told = "loading PyTorch and Lightning for +experiment=last_block optim.lr=1e-4\n"
    assert (done.returncode, done.stderr) == (9, told)
