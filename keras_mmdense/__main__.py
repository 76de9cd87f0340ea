"""`python -m keras_mmdense`: the same as the command `keras-mmdense`."""

import sys

from keras_mmdense.cli import main

if __name__ == "__main__":
    sys.exit(main())
