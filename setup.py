"""The metadata is in pyproject.toml; this keeps a checkout's old build folder out of a wheel."""

import tempfile

from setuptools import setup

BUILD = tempfile.TemporaryDirectory()  # one in the checkout would carry deleted modules along
setup(options={"build": {"build_base": BUILD.name}})
