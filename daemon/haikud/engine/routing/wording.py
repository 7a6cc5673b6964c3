"""Reading a request's words: what is only named is taken out, so that `Review your order` in quotes is no review.

Pure and bounded: of a text only its first part is read, and no pattern backtracks over more than a few words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from haikud.engine.routing.tables import OPEN_VERBS, SOMEBODY_ELSE

MOST_READ = 4_000
"""Characters of one text."""

NAME = "§"
"""Stands for what was taken out."""

_NAMES = re.compile(
    r"`[^`\n]{1,200}`"  # code
    r'|"[^"\n]{1,200}"|“[^”\n]{1,200}”|«[^»\n]{1,200}»'
    r"|(?<!\w)'[^'\n]{1,200}'(?!\w)"
    r"|<[^<>\n]{1,100}>"  # markup
    r"|(?<![\w.@~+-])[\w.@~+-]{0,80}/[\w./@~+*{}-]{1,200}"  # paths and addresses
    r"|(?<![\w-])[\w-]{1,80}\.(?:[a-z][a-z0-9]{0,5})\b"  # file names, attribute access
    r"|\b\w{1,80}\([^()\n]{0,80}\)"  # calls
    r"|\b[a-z0-9]{1,40}(?:_[a-z0-9]{1,40})+\b|\b[A-Z][A-Z0-9]{0,40}(?:_[A-Z0-9]{1,40})+\b"  # snake_case, CONSTANT_CASE
    r"|\b[a-z]{1,40}[A-Z]\w*\b|\b[A-Z][a-z0-9]{1,40}[A-Z]\w*\b"  # camelCase, PascalCase of two words
    r"|\b(?:[A-Z][A-Za-z]{0,20}-){1,5}[A-Z][A-Za-z]{0,20}\b"  # Content-Type
    r"|\b\w{1,80}\.[A-Z]\w*"  # config.CSP
    r"|\b[A-Z]{5,}\b"  # SHOUTED
    r"|(?<![\w-])--?[a-z][\w-]*"  # options
    r"|#[0-9a-fA-F]{3,8}\b"
    r"|\b\w{1,80}={1,2}\S{1,80}"
)
_NUMBER = re.compile(r"(?<![\w§.,:%])\d[\d.,:%x]*")
_SENTENCE = re.compile(r"(?<=[.;:!?])\s+|\n+")
_CLAUSE = re.compile(r",\s+|\s+(?:and|then|but|or)\s+|\s+[-\u2013]\s+")
_FILLER = re.compile(
    r"^(?:[\s*•\d.)-]*(?:please|first|then|also|next|finally|and|now|just|let us|let's|help us(?: to)?|we|you|i|to|task"
    r"|todo|(?:need|want|have|has|ought|try|would like|asked) to|should|must|can you|could you|carefully|quickly|step)"
    r"\b[\s,:]*)+"
)


@dataclass(frozen=True)
class Prose:
    """A text without the names in it: `words` in lower case, and how many names and numbers were in it."""

    words: str
    names: int
    numbers: int

    @property
    def is_exact(self) -> bool:
        """Whether it says what is meant by name or number."""
        return self.names + self.numbers > 0


def read_prose(text: str) -> Prose:
    """Take the names out of a text."""
    bare, names = _NAMES.subn(f" {NAME} ", text[:MOST_READ])
    numbers = len(_NUMBER.findall(bare))
    return Prose(
        re.sub(r"[ \t]+", " ", bare).strip().lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"), names, numbers
    )


def open_verb(words: str) -> str | None:
    """The first clause that begins with work still to be thought of, shortened; None where there is none.

    `Let users filter and choose` is not the agent's choice, and `a menu to choose from` is no clause of its own.
    """
    for sentence in _SENTENCE.split(words):
        for clause in _CLAUSE.split(sentence):
            head = _FILLER.sub("", clause.strip())
            if OPEN_VERBS.match(head):
                return " ".join(head.split()[:4])
            if SOMEBODY_ELSE.search(clause):
                break  # what follows is what somebody else does
    return None
