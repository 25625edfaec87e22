"""Parameter names of the code below -> flags, in the messages that a command prints."""

from __future__ import annotations

import re

from cli.flags import FLAGS

# Parameters whose flag has another name.
_FLAG_OF = {
    "lr": "--init_lr",
    "augment": "--no_augment",
    "input_type": "--input",
}

# A name in backticks, such as `overwrite`.
_QUOTED = re.compile(r"`(\w+)`")
# An identifier that is no English word: one with an underscore, or one of these. Parts of a path, a
# quoted name, a call or an assignment stay as they are.
_IDENTIFIER = re.compile(
    r"(?<![\w./\\'\"`-])([a-z0-9]+(?:_[a-z0-9]+)+|finetune|gsd|K|lr)(?![\w./\\'\"`(=])"
)
_FIRST_WORD = re.compile(r"^([a-z0-9]+)(?=[ :])")


def name_flags(message: str, phase: str, *, quoted_only: bool = False) -> str:
    """Replace the names of parameters in a message by the flags of a phase.

    Messages of the code below the command line name its parameters, as they are read by users of
    the Python API as well ("overlap must be smaller than the window"). A plain word is taken for a
    parameter only in backticks or where it begins the message.

    Args:
        message: of an error, or a log line.
        phase: whose flags there are.
        quoted_only: replace only names in backticks. Log lines name settings as well, such as those
            of a training ("batch_size 4").
    """
    flags = {flag.dest: flag.names[0] for flag in FLAGS if phase in flag.phases} | _FLAG_OF

    def flag(match: re.Match[str]) -> str:
        return flags.get(match[1], match[0])

    for pattern in (_QUOTED,) if quoted_only else (_IDENTIFIER, _QUOTED, _FIRST_WORD):
        message = pattern.sub(flag, message)
    return message
