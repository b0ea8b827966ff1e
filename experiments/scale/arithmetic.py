"""The numbers of docs/scale.md: what a run takes that is larger than what was tried here.

python experiments/scale/arithmetic.py

All inputs are here. Nothing is measured; bandwidths and speeds are those that makers promise, and
shares of them that published runs reach.
"""

from dataclasses import dataclass

GIB, GB, TB = 2**30, 1e9, 1e12

# An H100 SXM node. Dense bf16 peak; NVLink within the node, 8 x 400 Gb/s between nodes.
PEAK_FLOPS = 989e12
UTILIZATION = 0.35
"""Of the peak; between 0.30 and 0.45 are published for models of this size."""
NVLINK = 450 * GB
NETWORK_OF_NODE = 8 * 50 * GB
DISK_OF_NODE = 5 * GB
SHARED_DISK = 20 * GB

DOCUMENTS = 1_000_000
TOKENS = 256
"""Of a document, on average, after cutting."""
TEXT_BYTES = 1_100
"""Of a document as text."""


@dataclass(frozen=True)
class Model:
    """A network."""

    name: str
    parameters: float
    width: int
    blocks: int


SMALL = Model("gpt2_small", 124e6, 768, 12)
XL = Model("gpt2_xl", 1.558e9, 1600, 48)
LARGE = Model("an 8B Llama", 8.03e9, 4096, 32)


def seconds(model: Model, gpus: int, passes: float = 3.0) -> float:
    """One epoch: 2 operations a parameter and token for each of the passes (1 forward, 2 back)."""
    return 2 * passes * model.parameters * DOCUMENTS * TOKENS / (gpus * PEAK_FLOPS * UTILIZATION)


def state_bytes(model: Model, processes: int = 1) -> float:
    """fp32 weights, gradients and both moments of AdamW (16 bytes a parameter), divided."""
    return 16 * model.parameters / processes


def gradient_seconds(model: Model, nodes: int) -> float:
    """A ring all-reduce of fp32 gradients: twice their size through the slowest link."""
    link = NVLINK if nodes == 1 else NETWORK_OF_NODE
    return 2 * 4 * model.parameters / link


def shown(value: float, unit: str = "") -> str:
    """Three digits."""
    return f"{value:,.3g} {unit}".strip()


def main() -> None:
    """Prints the tables."""
    print("| model | one GPU | 8 GPUs | 64 nodes |\n| --- | ---: | ---: | ---: |")
    for model in (SMALL, XL, LARGE):
        cells = [shown(seconds(model, gpus) / 60, "min") for gpus in (1, 8, 512)]
        print(f"| {model.name} | {' | '.join(cells)} |")

    print(
        "\n| model | DDP, each GPU | FSDP2 over 8 | FSDP2 over 512 |\n| --- | ---: | ---: | ---: |"
    )
    for model in (SMALL, XL, LARGE):
        cells = [shown(state_bytes(model, n) / GIB, "GiB") for n in (1, 8, 512)]
        print(f"| {model.name} | {' | '.join(cells)} |")

    print("\n| model | gradients, one node | gradients, 64 nodes |\n| --- | ---: | ---: |")
    for model in (SMALL, XL, LARGE):
        cells = [shown(gradient_seconds(model, nodes) * 1e3, "ms") for nodes in (1, 64)]
        print(f"| {model.name} | {' | '.join(cells)} |")

    print("\n| model | frozen activations, fp32 | written at 5 GB/s | read by 8 GPUs at 5 GB/s |")
    print("| --- | ---: | ---: | ---: |")
    for model in (SMALL, XL):
        size = DOCUMENTS * TOKENS * model.width * 4
        time = shown(size / DISK_OF_NODE / 60, "min")
        print(f"| {model.name} | {shown(size / TB, 'TB')} | {time} | {time} |")
    forward = seconds(SMALL, 8, passes=1)
    print(
        f"\ncomputing gpt2_small's again, forward on 8 GPUs: {shown(forward / 60, 'min')} an epoch"
    )

    print("\n| data | size |\n| --- | ---: |")
    for name, size in (
        ("texts", DOCUMENTS * TEXT_BYTES),
        ("texts as Python objects in a table, about 1.5 times", DOCUMENTS * TEXT_BYTES * 1.5),
        ("token ids as int64, in memory", DOCUMENTS * TOKENS * 8),
        ("the same as uint16 or uint32 in shards", DOCUMENTS * TOKENS * 4),
        ("a shard of 64 MiB holds documents", 64 * 2**20 / (TOKENS * 4) * GB),
    ):
        unit = "" if "holds" in name else "GB"
        print(f"| {name} | {shown(size / GB, unit)} |")

    print("\n| model | checkpoint to resume from | one file, 5 GB/s | 64 nodes, 20 GB/s |")
    print("| --- | ---: | ---: | ---: |")
    for model in (SMALL, XL, LARGE):
        size = 12 * model.parameters  # weights and both moments
        cells = [
            shown(size / GB, "GB"),
            shown(size / DISK_OF_NODE, "s"),
            shown(size / SHARED_DISK, "s"),
        ]
        print(f"| {model.name} | {' | '.join(cells)} |")

    step = 6 * XL.parameters * 8 * TOKENS / (PEAK_FLOPS * UTILIZATION)
    print(f"\na step of gpt2_xl on 8 texts a GPU: {shown(step, 's')}")
    print(f"a hash of 16 bytes of each text: {shown(16 * DOCUMENTS / 1e6, 'MB')}")
    print(f"128 MinHashes of 4 bytes: {shown(512 * DOCUMENTS / GB, 'GB')}")
    print(f"one position of gpt2_small: {shown(4 * SMALL.width * DOCUMENTS / GB, 'GB')}")
    print(f"a failure a node and year, 64 nodes: every {shown(365 / 64, 'days')}")


if __name__ == "__main__":
    main()
