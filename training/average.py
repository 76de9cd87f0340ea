"""Average the weights of models: `python -m training.average A.keras B.keras --out C.keras`.

The mean of models that were fine-tuned from the same weights is often better than each of them
(Wortsman and others, "Model soups", ICML 2022). All must have the same settings. The result says
what all were trained on and all of their licenses, and never replaces a file. Exit code 0: success;
2: wrong input.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import keras_mmdense
from keras_mmdense.errors import require
from training import command, command_parser
from training.train.run_folder import save_model

FREE = {"preset", "frames", "training_data", "license"}


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
    settings = [keras_mmdense.settings_of(model) for model in models]
    other = sorted(set().union(*(one.differs_in(settings[0]) for one in settings)) - FREE)
    require(not other, "all models must have the same settings", f"another {', '.join(other)}", "")
    for variables in zip(*(model.weights for model in models), strict=True):
        mean = np.mean([np.asarray(v) for v in variables], axis=0)  # statistics included
        variables[0].assign(mean.astype(variables[0].dtype))
    keras_mmdense.annotate(
        models[0],
        training_data="; ".join(
            dict.fromkeys(s.training_data for s in settings if s.training_data)
        ),
        license="; ".join(dict.fromkeys(s.license for s in settings if s.license)),
    )
    save_model(models[0], args.out)


if __name__ == "__main__":
    sys.exit(main())
