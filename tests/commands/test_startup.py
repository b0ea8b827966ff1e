import subprocess
import sys

import pytest


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
