"""`keras-mmdense completion`: scripts for bash, zsh and fish, made from the parser itself."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_mmdense.cli.parser import parser
from keras_mmdense.precisions import PRECISIONS
from keras_mmdense.presets import PRESETS
from keras_mmdense.weights import trained_models

PROGRAM = "keras-mmdense"
NO_FILES = ("env", "completion")


def run(arguments: argparse.Namespace) -> int:
    """Print the script of a shell."""
    print({"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell](), end="")
    return 0


@dataclass(frozen=True)
class Command:
    """What can follow a command.

    Args:
        name: Of the command.
        about: What it does.
        options: Option to what it does.
        values: Option that takes a value to its choices, and whether it takes a file.
        words: Choices of what is no option.
    """

    name: str
    about: str
    options: dict[str, str]
    values: dict[str, tuple[tuple[str, ...], bool]]
    words: tuple[str, ...]


def commands() -> Iterator[Command]:
    """Yield the commands of the parser."""
    holder: Any = next(
        action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    about = {choice.dest: choice.help or "" for choice in holder._choices_actions}
    for name, one in holder.choices.items():
        options: dict[str, str] = {}
        values: dict[str, tuple[tuple[str, ...], bool]] = {}
        words: tuple[str, ...] = ()
        for action in one._actions:
            for option in action.option_strings:
                options[option] = action.help or ""
                if action.nargs != 0:
                    known = tuple(PRECISIONS) if option == "--precision" else action.choices
                    values[option] = tuple(known or ()), action.metavar in ("FILE", "DIR")
            if not action.option_strings:
                words += tuple(action.choices or _models(action))
        yield Command(name, about[name], options, values, words)


def _models(action: argparse.Action) -> tuple[str, ...]:
    """Return the names that may stand for a file."""
    return {"PRESET|FILE": tuple(PRESETS), "MODEL": tuple(trained_models())}.get(
        str(action.metavar), ()
    )


def bash() -> str:
    """Return the script for bash."""
    cases, options = [], []
    for one in commands():
        for option, value in one.values.items():
            cases.append(f"{one.name}:{option}) found=({_compgen(*value)}) ;;")
        cases.append(f"{one.name}:*) found=({_compgen(one.words, one.name not in NO_FILES)}) ;;")
        options.append(f"{one.name}) found=({_compgen(tuple(one.options))}) ;;")
    names = _compgen((*(one.name for one in commands()), "--help", "--version"))
    parts = {"names": names, "options": "\n".join(options), "cases": "\n".join(cases)}
    return _BASH.format(
        **{name: text.replace("\n", "\n" + 12 * " ") for name, text in parts.items()}
    )


def _compgen(words: tuple[str, ...], files: bool = False) -> str:
    """Return the arguments of compgen; words are parted by lines, as its results are."""
    listed = "-W $'" + "\\n".join(words) + "'" if words else ""
    return f"{listed} -f".strip() if files else listed


_BASH = """\
_keras_mmdense() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local command=${{COMP_WORDS[1]}} IFS=$'\\n'
    local -a found
    if (( COMP_CWORD == 1 )); then
        found=({names})
    elif [[ $word == -* ]]; then
        case $command in
            {options}
        esac
    else
        case $command:$before in
            {cases}
        esac
    fi
    (( ${{#found[@]}} )) && COMPREPLY=($(compgen "${{found[@]}}" -- "$word"))
}}
complete -o filenames -F _keras_mmdense keras-mmdense
"""


def zsh() -> str:
    """Return the script for zsh, whose bashcompinit runs bash's."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash()


def fish() -> str:
    """Return the script for fish."""
    lines = [f"complete -c {PROGRAM} -n __fish_use_subcommand -f -l version",
             f"complete -c {PROGRAM} -n __fish_use_subcommand -f -s h -l help"]  # fmt: skip
    for command in commands():
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {command.name} "
                     f"-d {shlex.quote(command.about)}")  # fmt: skip
        seen = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"{seen} -a {shlex.quote(' '.join(command.words))}")
        if command.name in NO_FILES:
            lines.append(f"{seen} -f")
        for option, text in command.options.items():
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            value = ""
            if option in command.values:
                choices, files = command.values[option]
                value = " -r" if files else f" -x -a {shlex.quote(' '.join(choices))}"
            lines.append(f"{seen} {kind}{value} -d {shlex.quote(text)}")
    return "\n".join(lines) + "\n"
