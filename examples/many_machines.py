"""A corpus of many files, imported and tokenised file by file with datatrove: on one machine, or as jobs of Slurm.

    pip install 'picochat[shards]'
    python examples/many_machines.py --source shards --out-dir runs/big --workers 16
    picochat tok train --dataset-pack runs/big/dataset_pack.json --vocab-size 32768 --out runs/big/tokenizer.json
    python examples/many_machines.py --out-dir runs/big --tokenizer runs/big/tokenizer.json --workers 16
    picochat fit --config base.yaml --data.dataset_pack runs/big/dataset_pack.json …

With `--slurm PARTITION` every step becomes an array of jobs that waits for the one before; all machines have to see the
folders. datatrove keeps a log of each part under OUT_DIR/logs, and the same call again does the parts that are missing.
"""

import argparse
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor

from picochat.datamodules.shards import Step, import_steps, token_steps


class Part:
    """A step as datatrove calls it: once for each rank, with documents that come from no other step."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        self.step.work(rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--source", metavar="DIR", help="a folder of files to import")
    what.add_argument("--tokenizer", metavar="FILE", help="make the tokens of the corpus that was imported")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="of the dataset pack")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="parts at a time")
    parser.add_argument("--slurm", metavar="PARTITION", help="run the parts as jobs there")
    parser.add_argument("--time", default="04:00:00", help="limit of a job (default: 4 hours)")
    args = parser.parse_args()
    out_dir = Path(args.out_dir)
    if args.source:
        steps = import_steps(args.source, out_dir, force=True)
    else:
        steps = token_steps(out_dir / "corpus", args.tokenizer, out_dir)
    before: Any = None
    for step in steps:
        shared = {"pipeline": [Part(step)], "tasks": step.parts, "logging_dir": f"{out_dir}/logs/{step.name}"}
        if args.slurm:
            jobs = {"partition": args.slurm, "time": args.time, "workers": args.workers, "job_name": step.name}
            before = SlurmPipelineExecutor(**shared, **jobs, depends=before)
        else:
            before = LocalPipelineExecutor(**shared, workers=args.workers)
        before.run()


if __name__ == "__main__":
    main()
