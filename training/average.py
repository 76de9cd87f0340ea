"""Average the weights of models: `python -m training.average A.keras B.keras --out C.keras`.

The mean of models that were fine-tuned from the same weights is often better than each of them
(Wortsman and others, "Model soups", ICML 2022). All must have the same architecture. The result has
the settings of the first one and never replaces a file. Exit code 0: success; 2: wrong input.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import keras_mmdense
from keras_mmdense.errors import require
from training import command, command_parser
from training.train.run_folder import save_model


@command("average")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("training.average", __doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL.keras")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.keras")
    args = parser.parse_args(argv)
    fits = args.out.suffix == ".keras" and not args.out.exists()
    require(fits, "--out must be a new .keras file", str(args.out), "")
    require(len(args.models) >= 2, "there must be two or more models", len(args.models), "")
    models = [keras_mmdense.build(weights=path) for path in args.models]
    shapes = [[(w.path, tuple(w.shape)) for w in model.weights] for model in models]
    same = all(one == shapes[0] for one in shapes)
    require(same, "all models must have the same architecture", "weights of other shapes", "")
    for variables in zip(*(model.weights for model in models), strict=True):
        mean = np.mean([np.asarray(v) for v in variables], axis=0)  # statistics included
        variables[0].assign(mean.astype(variables[0].dtype))
    save_model(models[0], args.out)


if __name__ == "__main__":
    sys.exit(main())
