"""What a study file says. In: YAML, or arguments. Out: `Settings`, checked. Next: arms, study.

{profile: capability, lanes: [add, spell], steps: 700}                        which lane of it helps which?
{arms: {short: [train sft --steps 5], long: [train sft --steps 9]}, …}        which of these is better?
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from picochat.errors import UserError
from picochat.strict_yaml import check_value, read_yaml

Budget = Literal["placebo", "rows", "pro_rata"]
_OF_DESIGNS = ("chat_input", "steps", "interactions", "centre", "full", "budget", "declared", "train")


@dataclass(frozen=True)
class Settings:
    """Which lane causes what, or which of several arms is better.

    Args:
        out_dir: the study's folder, from which it resumes when interrupted; null takes runs/study/NAME.
        profile: the mixture whose lanes are studied, a name or a mixture file.
        chat_input: chat rows in place of a profile's.
        eval_input: eval rows, the same for all runs; null takes the profile's.
        checkpoint: the model folder that every run starts from.
        dataset_pack: its corpus is the placebo, and task packs are made for it.
        sft_rows: chat rows of the profile's pack.
        eval_rows: eval rows of the profile's pack.
        lanes: categories, or components as one lane each, of chat and eval rows; null takes every category.
        steps: optimizer steps of a run.
        arms: 8 for up to 4 lanes, 16 for 8, 24 for 12, 32 for 16 (null: the fewest); or in place of a design, by name,
            the command lines of an arm's training stages.
        interactions: effects of pairs of lanes, too, which takes more arms.
        centre: further runs with half of every lane.
        full: further runs with all lanes.
        seeds: runs of each arm that is given by command lines.
        seed: the first of all seeds.
        budget: what becomes of the share of a lane that is out: placebo, rows (fewer steps), pro_rata (the others').
        declared: pairs of lane and eval lane whose effect is asked for, besides each lane's on itself.
        train: further flags of `picochat train sft`.
        evaluate: further flags of `picochat eval chat`.
        sigma: expected standard deviation between runs of different seeds, in points; for the plan.
        slots: runs at a time; they share the cores.
        executor: path of a concurrent.futures.Executor, such as executorlib.SlurmClusterExecutor; null runs here.
        executor_args: its arguments.
    """

    out_dir: str | None = None
    profile: str | None = None
    chat_input: str | None = None
    eval_input: str | None = None
    checkpoint: str = "runs/base/best_checkpoint"
    dataset_pack: str = "runs/data/dataset_pack.json"
    sft_rows: int = 20_000
    eval_rows: int = 1200
    lanes: list[str] | None = None
    steps: int = 700
    arms: int | dict[str, list[str]] | None = None
    interactions: bool = False
    centre: int = 2
    full: int = 2
    seeds: int = 3
    seed: int = 42
    budget: Budget = "placebo"
    declared: list[list[str]] = field(default_factory=list)
    train: str = ""
    evaluate: str = ""
    sigma: float = 2.0
    slots: int = 1
    executor: str | None = None
    executor_args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = {"steps": 1, "seeds": 1, "slots": 1, "centre": 0, "full": 0, "seed": 0, "sigma": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise UserError(f"study: {name} is {getattr(self, name)}; use a number from {number}")

    @classmethod
    def read(cls, file: str | Path | None, **more: Any) -> Self:
        """The settings of a study file, and `more` in place of them; UserError names the file and the key at fault."""
        table = {} if file is None else read_yaml(Path(file))
        if not isinstance(table, dict):
            raise UserError(f"{file}: is not a study; write settings into it, such as `profile: capability`")
        given, place = {**table, **more}, str(file or "study")
        lines = isinstance(given.get("arms"), dict)
        idle = dict.fromkeys(_OF_DESIGNS, "arms of command lines") if lines else {"seeds": "lanes that are in and out"}
        idle |= {"chat_input": "the rows of a profile"} if given.get("profile") else {}
        if name := next((name for name in idle if given.get(name) is not None), None):
            raise UserError(f"{place}.{name}: has no effect on {idle[name]}; leave it out")
        try:
            check_value(given, Settings, place)
        except ValueError as error:
            raise UserError(str(error)) from None
        return cls(**{"out_dir": file and f"runs/study/{Path(file).stem}", **given})
