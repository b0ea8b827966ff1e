"""A configuration for a user's own table, which runs as it is."""

from pathlib import Path

import pytest
import yaml

from llm_lightning.commands import init

pytestmark = pytest.mark.usefixtures("own_folder")


def table(name: str = "reviews.csv", rows: int = 60) -> Path:
    lines = ["id,review,stars"]
    lines += [
        f'{n},"text {n}, {"word " * (n % 9)}",{"bad" if n % 5 == 0 else "good"}'
        for n in range(rows)
    ]
    file = Path(name)
    file.write_text("\n".join(lines) + "\n")
    return file


def written(name: str = "reviews") -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(Path(f"experiment/{name}.yaml").read_text())
    return found


def test_columns_classes_and_lengths_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert init.main([str(table())]) == 0
    found = written()
    data = found["data"]
    assert isinstance(data, dict)
    assert data["path"] == str(Path("reviews.csv").absolute())
    assert (data["text_column"], data["label_column"]) == ("review", "stars")
    assert data["class_names"] == ["bad", "good"]
    assert data["balance"] == "class_weights", "four good ones for each bad one"
    assert 10 <= data["max_length"] <= 16
    out = capsys.readouterr().out
    assert "good 48, bad 12, in column 'stars'" in out
    assert "python -m llm_lightning --config-dir . +experiment=reviews" in out
    text = Path("experiment/reviews.yaml").read_text()
    assert "# reviews.csv: 60 texts in 2 classes" in text
    assert "# The columns are: id, review, stars" in text


def test_names_that_yaml_or_hydra_would_read_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("a: #${x}")
    folder.mkdir()
    file = folder / "my table-1.csv"
    file.write_text('"te: xt","${l}"\n' + "".join(f"long text {n},{n % 2}\n" for n in range(12)))
    assert init.main([str(file)]) == 0
    data = written("my_table_1")["data"]
    assert isinstance(data, dict)
    assert (data["text_column"], data["label_column"]) == ("te: xt", "\\${l}")
    assert data["class_names"] == ["0", "1"]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("t,a,b\n" + "long text,1,x\nlonger text,2,y\n" * 5, [], "'a' and 'b' could be the labels"),
        ("t,n\n" + "".join(f"text {n},{n}\n" for n in range(9)), [], "no other column can be"),
        ("t\nx\n", [], "has one column, 't'"),
        ("t,l\n", [], "has a header but no rows"),
        ("t,l\na,1\nb,2\n", ["--label-column", "k"], "has no column 'k'"),
        ("t,l\na,1\nb,1\n", ["--label-column", "l"], "a single class"),
        ("t,l\na,1\nb,2\n", ["--label-column", "l", "--name", "a/b"], "--name must be letters"),
        (
            "t,l\na,1\nb,2\n",
            ["--label-column", "l", "--name", "lora"],
            "experiment lora already",
        ),
    ],
)
def test_what_is_not_clear_is_asked(
    content: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.csv").write_text(content)
    assert init.main(["t.csv", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not Path("experiment").exists(), "a refused command leaves nothing"


def test_a_file_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert init.main([str(table())]) == 0
    before = Path("experiment/reviews.yaml").read_text()
    assert init.main([str(table())]) == 2
    assert "exists: choose another name" in capsys.readouterr().err
    assert Path("experiment/reviews.yaml").read_text() == before


@pytest.mark.slow
def test_the_file_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from program import command

    assert init.main([str(table())]) == 0
    arguments = ["--config-dir", ".", "+experiment=reviews", "trainer.max_epochs=1", "baselines=[]"]
    assert command(monkeypatch, *arguments) == 0
    (folder,) = Path("runs").glob("*/seed_123")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["label_column"] == "stars"
    assert (folder / "summary.json").is_file()
