"""`python -m starter train` makes the checkpoint, `python -m starter evaluate` measures a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from starter import recipe, report


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m starter")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="make the checkpoint from texts and a teacher")
    train.add_argument("--data", type=Path, required=True, help="folder of NAME.txt.zst files")
    train.add_argument("--work", type=Path, required=True, help="folder for intermediate results")
    train.add_argument("--output", type=Path, required=True, help="folder for the checkpoint")
    sizes = recipe.Sizes()
    for name, value in vars(sizes).items():
        train.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    evaluate = commands.add_parser("evaluate", help="measure GGUF files on public sets")
    evaluate.add_argument("models", nargs="+", help="GGUF files; also minilm and averaging")
    evaluate.add_argument("--sets", type=Path, required=True, help="folder of the sets")
    arguments = parser.parse_args()
    if arguments.command == "train":
        chosen = {name: getattr(arguments, name) for name in vars(sizes)}
        recipe.run(arguments.data, arguments.work, arguments.output, recipe.Sizes(**chosen))
    else:
        report.run(arguments.models, arguments.sets)


if __name__ == "__main__":
    main()
