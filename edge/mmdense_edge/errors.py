"""The errors that users see: one line each with the rule, what was received and the way out."""

import os


class MMDenseError(Exception):
    """Base of this package's errors; its text is one line, whatever name or library it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class ModelError(MMDenseError, ValueError):
    """A model file or its contract cannot be used."""


class AudioError(MMDenseError, ValueError):
    """Audio, in memory or in a file, cannot be used or written."""


class CardStopped(AudioError):
    """A sound card stopped during a run, for example because it was unplugged."""


class InterpreterError(MMDenseError, RuntimeError):
    """No usable TFLite interpreter is installed."""


class Cancelled(MMDenseError, RuntimeError):
    """The caller's `cancel` ended the work."""


class UsageError(MMDenseError, ValueError):
    """A request with invalid or contradictory options."""


def refuse_if(broken: object, message: str, error: type[MMDenseError] = UsageError) -> None:
    """Raise an error if a rule is broken.

    Args:
        broken: Whether it is.
        message: The rule, what was received and the way out.
        error: What is raised.

    Example:
        >>> port = 8765
        >>> refuse_if(port > 65535, f"--port must be up to 65535; received {port}")
    """
    if broken:
        raise error(message)


def shortened(text: str, most: int = 80) -> str:
    """Return `text`, or only its beginning if it is long, as when quoting a damaged file.

    Args:
        text: Text from a file or a library.
        most: Maximum number of characters, 4 or more.

    Example:
        >>> shortened("a long text", most=6)
        'a l...'
    """
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: str | os.PathLike[str]) -> str:
    r"""Return `text` as one line that is safe to print on any terminal or in a log.

    File names may contain line breaks, control characters and bytes that are not valid text.

    Args:
        text: A message that quotes a name, for example, or a path.

    Returns:
        The text with every unprintable character as its backslash escape.

    Example:
        >>> printable("two\nlines")
        'two\\nlines'
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in os.fspath(text)
    )
