"""Package of the library; the device runner in edge/ is a distribution of its own."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "keras_mmdense" / "__init__.py").read_text("utf-8"), re.M
).group(1)

TENSORFLOW = ["tensorflow>=2.17,<2.22; python_version < '3.13'",
              "tensorflow>=2.20,<2.22; python_version >= '3.13'"]  # fmt: skip
PLOT = ["matplotlib>=3.10"]
EXPORT = [*TENSORFLOW, "ai-edge-litert>=2.1.6,<3", "ai-edge-quantizer>=0.10", *PLOT]
MUSDB18 = ["av>=14"]
TRAIN = [*TENSORFLOW, *PLOT, "tensorboard>=2.17"]
# pyworld imports pkg_resources, which setuptools 81 no longer has
CORPUS = ["mido>=1.3", "pyworld>=0.3.4", "scipy>=1.11", "setuptools<81"]
# ruff formats the signatures of the reference.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.7,<10", "mkdocstrings[python]>=1,<2", "ruff==0.17.6"]
# tensorflow-io's native ops fail with any other TensorFlow, and its metadata does not say so.
TFIO = ["tensorflow>=2.17,<2.18", "tensorflow-io==0.37.1"]

setup(
    name="keras-mmdense",
    version=VERSION,
    description="MMDenseNet music source separation in Keras: train, export to TFLite, separate",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    # include: training, tests and edge lie beside the library and are not installed with it
    packages=find_packages(include=["keras_mmdense", "keras_mmdense.*"]),
    package_data={"keras_mmdense": ["py.typed", "weights/*.keras"]},
    entry_points={"console_scripts": ["keras-mmdense=keras_mmdense.cli:main"]},
    python_requires=">=3.11",
    install_requires=["keras>=3.12,<4", "numpy>=1.26", "soundfile>=0.12", "soxr>=0.5"],
    extras_require={
        "tensorflow": TENSORFLOW,
        "jax": ["jax>=0.4"],
        "plot": PLOT,
        "export": EXPORT,
        "musdb18": MUSDB18,
        "train": TRAIN,
        "corpus": CORPUS,
        "docs": DOCS,
        "tfio": TFIO,
        "dev": [
            *EXPORT, *MUSDB18, *TRAIN, "hypothesis>=6", "ipykernel>=6", "jax>=0.4", "mido>=1.3",
            "museval==0.4.1", "mypy==2.4.1", "nbclient>=0.10", "norbert==0.2.1", "pre-commit>=4",
            "pytest>=8.2", "pytest-xdist>=3.6", "ruff==0.17.6", "scipy>=1.11",
        ],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)  # fmt: skip
