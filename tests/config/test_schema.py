import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir, list_experiments
from llm_lightning.config.run_name import run_name
from llm_lightning.run_format.setting_effects import without_draws

GROUPS = ("model", "task", "data", "finetune", "trainer")
# What the book's table says: row -> (train, validation, test) accuracy in percent.
PUBLISHED = {
    1: (96.63, 99.33, 95.00),
    2: (78.46, 80.54, 75.00),
    3: (78.65, 79.87, 72.00),
    4: (98.85, 98.66, 98.33),
    5: (99.62, 96.64, 96.67),
    6: (87.50, 91.28, 84.67),
    7: (99.52, 98.66, 96.67),
    8: (99.81, 99.81, 98.33),
    9: (100.00, 98.66, 98.67),
    10: (100.00, 96.64, 93.67),
    11: (100.00, 97.32, 96.67),
    12: (100.00, 98.66, 98.33),
    13: (83.08, 87.92, 78.33),
    14: (100.00, 98.66, 98.00),
    15: (99.33, 98.66, 98.33),
    16: (99.42, 98.66, 98.33),
    17: (99.23, 98.66, 95.33),
    18: (96.63, 99.33, 95.00),
    19: (97.79, 99.33, 96.33),
}


def composed(*overrides: str) -> DictConfig:
    schema.register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=[*overrides, "run_dir=somewhere"])


def plain(cfg: DictConfig, *groups: str) -> dict:
    return {group: OmegaConf.to_container(cfg[group], resolve=True) for group in groups}


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_of_a_group_composes(group: str) -> None:
    files = [file.stem for file in (conf_dir() / group).rglob("*.yaml")]
    assert files
    for name in files:
        assert composed(f"{group}={name}")[group] is not None


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_composes_and_passes_its_range_checks(name: str) -> None:
    cfg = composed(f"+experiment={name}")
    for group in ("model", "task", "data", "finetune", "optim"):
        OmegaConf.to_object(cfg[group])  # builds the dataclass


@pytest.mark.parametrize("row", PUBLISHED)
def test_each_row_records_what_the_book_published(row: int) -> None:
    published = composed(f"+experiment=row_{row:02d}").published
    assert published.row == row
    assert (published.train, published.val, published.test) == PUBLISHED[row]
    assert "28c65cd" in published.source


# What the book's chapter 7 says: losses before (train, val) and after (train, val), judge's score.
PUBLISHED_INSTRUCT = {
    "instruct": (3.826, 3.762, 0.299, 0.657, 49.45),
    "instruct_phi3": (3.716, 3.644, 0.424, 0.928, 48.87),
    "instruct_masked": (2.281, 2.263, 0.143, 0.727, 47.73),
    "instruct_alpaca": (3.368, 3.412, 0.761, 1.557, 48.16),
    "instruct_lora": (3.768, 3.762, 0.308, 0.652, 50.23),
    "instruct_small": (None, None, None, None, None),  # the book gives a time only
}


@pytest.mark.parametrize("name", PUBLISHED_INSTRUCT)
def test_each_instruct_experiment_records_what_the_book_published(name: str) -> None:
    published = composed(f"+experiment={name}").published
    found = (
        published.initial_train_loss,
        published.initial_val_loss,
        published.train_loss,
        published.val_loss,
        published.judge_score,
    )
    assert found == PUBLISHED_INSTRUCT[name]
    assert "28c65cd" in published.source


def test_instruct_experiments_have_the_books_settings() -> None:
    for name in PUBLISHED_INSTRUCT:
        cfg = composed(f"+experiment={name}")
        assert (cfg.optim.lr, cfg.optim.weight_decay, cfg.trainer.max_epochs) == (5e-5, 0.1, 2)
        strategy = "LoRA" if name == "instruct_lora" else "AllLayers"
        assert cfg.finetune._target_.endswith(strategy)
        assert cfg.task.tie_weights is False
        assert cfg.data.drop_last is True
        assert cfg.model.name == ("gpt2_small" if name == "instruct_small" else "gpt2_medium")
        assert cfg.data.batch_size == (4 if name == "instruct_alpaca" else 8)
        assert cfg.data.max_length == (512 if name == "instruct_alpaca" else None)
        assert cfg.data.prompt_style == ("phi3" if name == "instruct_phi3" else "alpaca")
        assert cfg.data.mask == ("prompt" if name == "instruct_masked" else "none")
        assert cfg.data.name == ("alpaca" if name == "instruct_alpaca" else "instructions")


def test_rows_differ_from_row_1_exactly_by_their_setting() -> None:
    groups = ("model", "task", "data", "finetune", "optim", "trainer")
    base = plain(composed("+experiment=row_01"), *groups)

    def changes(row: int) -> dict[str, object]:
        other = plain(composed(f"+experiment=row_{row:02d}"), *groups)
        return {
            f"{group}.{key}": value
            for group in groups
            for key, value in other[group].items()
            if base[group].get(key) != value
        }

    assert changes(2) == {"task.pooling": "first"}
    assert changes(3) == {"finetune.num_blocks": 0, "finetune.train_final_norm": False}
    assert changes(4) == {"finetune.num_blocks": 2}
    assert list(changes(5)) == ["finetune._target_"]
    assert changes(6)["model.name"] == "gpt2_medium"
    assert changes(7)["model.name"] == "gpt2_large"
    assert changes(8)["model.name"] == "gpt2_xl"
    assert {"model.name", "finetune._target_"} <= set(changes(9))
    assert changes(10).items() >= {"model.weights": "random", "model.init": "torch"}.items()
    assert changes(13) == {"data.max_length": "context"}
    assert changes(14) == {"data.padding": "none", "data.batch_size": 1}
    assert changes(15) == changes(14) | {"trainer.accumulate_grad_batches": 8}
    assert changes(16) == {"task.pooling": "last_real"}
    assert changes(17) == {"model.causal": False}
    assert changes(18) == {}
    assert changes(19) == {"task.pooling": "mean"}


def test_row_1_has_the_books_settings() -> None:
    cfg = composed("+experiment=row_01")
    assert (cfg.optim.lr, cfg.optim.weight_decay, cfg.optim.schedule) == (5e-5, 0.1, "constant")
    assert (cfg.trainer.max_epochs, cfg.data.batch_size, cfg.data.drop_last) == (5, 8, True)
    assert (cfg.data.split, cfg.data.balance, cfg.data.padding) == (
        "table",
        "undersample",
        "max_length",
    )
    assert (cfg.task.pooling, cfg.task.mask_padding, cfg.seed) == ("last", False, 123)


def test_our_experiments_pool_what_suits_the_model() -> None:
    for name in ("last_layer", "last_block", "last_two_blocks", "all"):
        cfg = composed(f"+experiment={name}")
        assert (cfg.task.pooling, cfg.data.padding, cfg.published) == ("auto", "batch", None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune.train_final_norm=flase", "flase.*bool"),
        ("data.batch_size=eight", "eight.*Integer"),
        ("data.bacth_size=8", "bacth_size"),
        ("optim.learning_rate=1", "learning_rate"),
        ("task.positon=last", "positon"),
        ("model.n_layers=3", "n_layers"),
        ("sead=1", "sead"),
        ("evaluate=worst", r"Invalid value 'worst', expected one of \[last, best\]"),
    ],
)
def test_wrong_types_and_unknown_keys_stop_at_composition(override: str, message: str) -> None:
    with pytest.raises(ConfigCompositionException) as caught:
        composed("+experiment=last_block", override)
    told = f"{caught.value} {caught.value.__cause__}".replace("\n", " ")
    assert re.search(message, told), told


def test_sizes_are_the_published_ones() -> None:
    sizes = {
        name: tuple(composed(f"model={name}").model[key] for key in ("n_layer", "n_head", "n_embd"))
        for name in ("nano", "gpt2_small", "gpt2_medium", "gpt2_large", "gpt2_xl")
    }
    assert sizes == {
        "nano": (6, 4, 128),
        "gpt2_small": (12, 12, 768),
        "gpt2_medium": (24, 16, 1024),
        "gpt2_large": (36, 20, 1280),
        "gpt2_xl": (48, 25, 1600),
    }


def test_the_seed_reaches_the_data() -> None:
    assert composed("seed=7").data.seed == 7


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["+experiment=last_block"], "last_block"),
        (
            ["+experiment=last_block", "seed=3", "runs_dir=/tmp/x", "offline_fallback=false"],
            "last_block",
        ),
        (["optim.lr=1e-4", "+experiment=all", "model=nano"], "all-model@nano-optim.lr@0.0001"),
        (["+experiment=all", "data.path=sms.zip"], "all-data.path@sms.zip"),
        (["+experiment=all", "data.path=/a/b/sms.zip"], "all-data.path@sms.zip@c379d003"),
        (["+experiment=all", "data.path='my files/'"], "all-data.path@my_files@a8ffa012"),
        (["+experiment=all", "~callbacks.progress"], "all-without@callbacks.progress"),
        (["+experiment=all", "data.text_column=a_b"], "all-data.text_column@a_b"),
        (["+experiment=all", "data.path='epoch=3,v2 (final)'"], "all-data.path@epoch_3_v2_final@"),
        (["+experiment=all", "finetune.targets=[q,v]"], "all-finetune.targets@q_v@"),
        (["+experiment=all", "data.class_names=['\u957f','\u540d']"], "all-data.class_names@@"),
    ],
)
def test_run_folders_are_named_after_what_was_changed(overrides: list[str], name: str) -> None:
    found = run_name(overrides)
    assert found.startswith(name) if name.endswith("@") else found == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("data.text_column='a b'", "data.text_column=a_b"),
        ("data.text_column='a b'", "data.text_column='a,b'"),
        ("data.text_column='a  b'", "data.text_column='a b'"),
        ("data.text_column='_a'", "data.text_column=a"),
        ("data.path=null", "data.path='null'"),
        ("data.path=''", "~data.path"),
        ("data.path=a/b", "data.path=b"),
        ("data.path=b/", "data.path=b"),
        ("data.path=a@b", "data.path=a_b"),
        ("data.class_names=['\u957f']", "data.class_names=['\u540d']"),
        ("finetune.targets=[q,v]", "finetune.targets=[q_v]"),
    ],
)
def test_settings_that_differ_have_names_that_differ(one: str, other: str) -> None:
    assert run_name([one]) != run_name([other])


def test_a_run_name_needs_no_quotes_and_fits_in_any_file_system() -> None:
    """Neither in a shell nor in a setting of a later run."""
    changes = [
        "data.path='/a b/epoch=3,v2 (final)/r\u00e9 \u957f$`!.csv'", "finetune.targets=[q,v]",
        "~callbacks.progress", "optim.lr=1e-4", "data.class_names=['" + "\u957f" * 200 + "']",
    ]  # fmt: skip
    for overrides in (changes, changes[:4], changes[:1]):
        name = run_name(["+experiment=all", *overrides, "order_seed=2"])
        assert len(name.encode()) < 200
        assert shlex.quote(name) == name
        (read,) = OverridesParser.create().parse_overrides([f"model.weights=runs/{name}/seed_1"])
        assert read.value() == f"runs/{name}/seed_1"


def test_files_of_one_name_in_two_folders_are_two_runs() -> None:
    assert run_name(["data.path=a/data.csv"]) != run_name(["data.path=b/data.csv"])
    assert run_name(["trainer.strategy=fsdp2"]) == run_name([]), "the same values, otherwise shared"
    assert run_name(["trainer.devices=2"]) != run_name([])


def test_long_names_are_cut_and_stay_different() -> None:
    changes = [f"+trainer.option_{i}={i}" for i in range(30)]
    one, other = run_name(changes), run_name([*changes, "optim.lr=1"])
    assert len(one) == len(other) == 150
    assert one != other


def test_every_experiment_named_in_the_documents_exists() -> None:
    root = Path(__file__).parents[2]
    named = set()
    for document in (root / "README.md", root / "experiments" / "README.md"):
        for found in re.findall(r"\+experiment=([\w,]+)(?![\w,(])", document.read_text()):
            named |= set(found.split(","))
    assert named
    assert named <= set(list_experiments())


def test_the_seeds_of_a_run_can_be_set_apart() -> None:
    cfg = composed("seed=7")
    assert (cfg.init_seed, cfg.order_seed, cfg.data.seed, cfg.data.split_seed) == (7, 7, 7, 123)
    cfg = composed("seed=7", "init_seed=1", "order_seed=2", "data.split_seed=3")
    assert (cfg.init_seed, cfg.order_seed, cfg.data.seed, cfg.data.split_seed) == (1, 2, 2, 3)


def test_other_seeds_end_the_name_of_a_run_and_leave_that_of_its_setting() -> None:
    many = [f"+trainer.option_{i}={i}" for i in range(30)]
    for changes in (["optim.lr=1e-4", "model=nano"], many):
        command = ["+experiment=all", *changes]
        name = run_name([*command, "order_seed=2", "data.split_seed=4", "init_seed=1"])
        assert name == f"{run_name(command)}-data.split_seed@4-init_seed@1-order_seed@2"
        assert without_draws(name) == run_name(command)
    assert without_draws("all-data.num_train@30") == "all-data.num_train@30"
    assert without_draws("all-data.fold=3") == "all", "as earlier versions named runs"
