"""One distribution, two import packages: keras_mmdense, and mmdense_edge, which needs no Keras."""

import re
import tempfile
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "edge/mmdense_edge/__init__.py").read_text("utf-8"), re.M
).group(1)

# The interpreter that has wheels for the platform. Where neither has (macOS on Intel), TensorFlow's
# is used.
LITERT = (
    "sys_platform == 'linux' and (platform_machine == 'x86_64' or platform_machine == 'aarch64')"
    " or sys_platform == 'darwin' and platform_machine == 'arm64'"
    " or sys_platform == 'win32' and platform_machine == 'AMD64'"
)
TFLITE = (
    "sys_platform == 'linux' and python_version < '3.12'"
    " and (platform_machine == 'armv7l' or platform_machine == 'armv8l')"
)
# tflite-runtime was built for NumPy 1.
TFLITE_RUNTIME = ["tflite-runtime>=2.14", "numpy<2"]

KERAS = "keras>=3.12,<4"
TENSORFLOW = [KERAS, "tensorflow>=2.17,<2.22; python_version < '3.13'",
              "tensorflow>=2.20,<2.22; python_version >= '3.13'"]  # fmt: skip
JAX = [KERAS, "jax>=0.4"]
PLOT = ["matplotlib>=3.10"]
EXPORT = [*TENSORFLOW, "ai-edge-quantizer>=0.10", *PLOT]
MUSDB18 = ["av>=14"]
TRAIN = [*TENSORFLOW, *PLOT, "tensorboard>=2.17"]
# pyworld imports pkg_resources, which setuptools 81 no longer has
CORPUS = ["mido>=1.3", "pyworld>=0.3.4", "scipy>=1.11", "setuptools<81"]
# ruff formats the signatures of the reference.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.7,<10", "mkdocstrings[python]>=1,<2", "ruff==0.17.6"]
# tensorflow-io's native ops fail with any other TensorFlow, and its metadata does not say so.
TFIO = [KERAS, "tensorflow>=2.17,<2.18", "tensorflow-io==0.37.1"]

# A build folder in the checkout would carry deleted modules into the next wheel.
BUILD = tempfile.TemporaryDirectory()

setup(
    name="keras-mmdense",
    version=VERSION,
    description="MMDenseNet music source separation: train in Keras, separate on small devices",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="keras_mmdense developers",
    keywords=["music", "source separation", "keras", "tflite", "litert", "audio"],
    # the code, the bundled weights, the page's LiteRT.js
    license_expression="MIT AND CC-BY-SA-4.0 AND Apache-2.0",
    license_files=[
        "LICENSE", "edge/mmdense_edge/model/README.md",
        "edge/mmdense_edge/serve/static/licences.txt",
    ],
    # include: training and tests lie beside the library and are not installed with it
    packages=[
        *find_packages(include=["keras_mmdense", "keras_mmdense.*"]),
        *find_packages("edge", include=["mmdense_edge", "mmdense_edge.*"]),
    ],
    package_dir={"mmdense_edge": "edge/mmdense_edge"},
    package_data={
        "keras_mmdense": ["py.typed", "weights/*.keras"],
        "mmdense_edge": ["py.typed", "model/*.tflite", "model/DEFAULT", "model/README.md",
                         "serve/static/*", "serve/static/*/*"],
    },
    entry_points={
        "console_scripts": [
            "keras-mmdense=keras_mmdense.cli:main", "mmdense=mmdense_edge.cli.main:main",
        ]
    },
    python_requires=">=3.11",
    install_requires=[
        "numpy>=1.26", "soundfile>=0.12", "soxr>=0.5", "tqdm>=4.66", "shtab>=1.13",
        f"ai-edge-litert>=2.1.6,<3; {LITERT}",
        *(f"{requirement}; {TFLITE}" for requirement in TFLITE_RUNTIME),
    ],
    extras_require={
        "tensorflow": TENSORFLOW,
        "jax": JAX,
        "torch": [KERAS, "torch>=2.6"],
        "plot": PLOT,
        "export": EXPORT,
        "live": ["sounddevice>=0.4.6"],
        "musdb18": MUSDB18,
        "tflite": TFLITE_RUNTIME,
        "train": TRAIN,
        "corpus": CORPUS,
        "docs": DOCS,
        "tfio": TFIO,
        "dev": [
            *EXPORT, *JAX, *MUSDB18, *TRAIN, "hypothesis>=6", "import-linter>=2",
            "ipykernel>=6", "mido>=1.3",
            "museval==0.4.1", "mypy==2.4.1", "nbconvert>=7.16", "norbert==0.2.1", "pre-commit>=4",
            "pytest>=8.2", "pytest-xdist>=3.6", "ruff==0.17.6", "scipy>=1.11", "setuptools>=77",
        ],
    },
    options={"build": {"build_base": BUILD.name}},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: Microsoft :: Windows",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)  # fmt: skip
