"""Measures one training step of each variant: `python -m benchmarks.step [DATASET] [--batch N]`.

One process per variant, so that its peak memory is its own. The first step pays for set-up and is left
out; the median of the others is shown. Peak memory is of the whole process, torch included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import plain
from gan.config import load_params
from gan.contract import ImageShape
from gan.training import new_train_state, pick_device, training_steps

PARAMS = Path("params.yaml")
SMALL_BATCH = {"began": 16}  # its networks keep many maps at full size
LOOPS = ("fp32", "bf16", "plain")
FURTHER = ("_paper", "_seed", "_as_coded")


def measure(
    dataset: str,
    variant: str,
    *,
    batch_size: int,
    steps: int,
    loop: str = "fp32",
    threads: int | None = None,
    side: int | None = None,
) -> dict[str, object]:
    """Seconds of a step, the median after the first, and the peak memory of this process.

    loop: fp32 or bf16, ours in that precision; plain, the textbook loop. side: of square images, where it
    isn't the data set's.
    """
    params = load_params(PARAMS)
    torch.set_num_threads(threads or params.train.num_threads)
    method = params.recipes[dataset][variant].method.model_copy(update={"batch_size": batch_size})
    device, image = pick_device(), params.datasets[dataset].shape
    if side:
        image = ImageShape(image.channels, side, side)
    textbook = loop == "plain"
    update = {"precision": "fp32" if textbook else loop, "channels_last": not textbook}
    train = params.train.model_copy(update=update)
    state = new_train_state(method, image, train, steps=10**6, seed=0, device=device)
    state.step = 100  # past any warm-up of the critic
    batches = iter(lambda: torch.rand(batch_size, *image) * 2 - 1, None)
    seconds = []
    run = plain.training_steps if textbook else training_steps
    for _ in zip(range(steps + 1), run(state, batches), strict=False):
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter())
    spans = [end - begin for begin, end in zip(seconds, seconds[1:], strict=False)]
    return {
        "variant": variant,
        "batch_size": batch_size,
        "critic_steps": getattr(method, "critic_steps", 1),
        "seconds": round(statistics.median(spans), 4),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": str(device),
    }


def main() -> None:
    """Print a table of the plain roster entries of a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="celeba")
    parser.add_argument("--batch", type=int, default=64, help="images of a batch (default: 64)")
    parser.add_argument("--steps", type=int, default=1, help="steps that are timed (default: 1)")
    parser.add_argument("--loop", choices=LOOPS, default="fp32", help="ours, or the textbook's")
    parser.add_argument("--threads", type=int, help="threads of torch (default: those of params.yaml)")
    parser.add_argument("--side", type=int, help="side of the images (default: the data set's)")
    parser.add_argument("--variant", help="measure this one, in this process")
    given = parser.parse_args()
    if given.variant:
        size = min(given.batch, SMALL_BATCH.get(given.variant, given.batch))
        found = measure(
            given.dataset,
            given.variant,
            batch_size=size,
            steps=given.steps,
            loop=given.loop,
            threads=given.threads,
            side=given.side,
        )
        print(json.dumps(found))
        return
    print(f"{'variant':16}{'batch':>6}{'critic steps':>14}{'s / step':>10}{'peak MB':>9}")
    for variant in load_params(PARAMS).recipes[given.dataset]:
        if variant.endswith(FURTHER):
            continue
        command = [sys.executable, "-m", "benchmarks.step", *sys.argv[1:], "--variant", variant]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(answer.stdout)
        print(
            f"{row['variant']:16}{row['batch_size']:>6}{row['critic_steps']:>14}"
            f"{row['seconds']:>10.3f}{row['peak_mb']:>9,}",
            flush=True,
        )


if __name__ == "__main__":
    main()
