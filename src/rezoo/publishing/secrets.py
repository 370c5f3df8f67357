"""Find passwords, tokens and private keys in files before they are published.

The common forms are found, and the user's own token of the Hub. What has no form, such as a
password in a sentence, is not found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


def _form(start: bytes, rest: bytes, *, not_after: bytes = b"") -> re.Pattern[bytes]:
    """Compile a literal and what follows it; Python finds a literal twenty times faster."""
    before = rb"(?<![%b]%b)" % (not_after, start) if not_after else b""
    return re.compile(re.escape(start) + before + rest)


_WORD = rb"A-Za-z0-9_-"
_BASE64 = rb"A-Za-z0-9+/"  # pictures in pages are text in base64, which may begin like a key
_EXACT: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("a token of the Hub", _form(b"hf_", rb"(?:[A-Za-z0-9]{20}|(?:oauth|jwt)_[\w.-]{20})")),
    ("a token of GitHub", _form(b"gh", rb"[pousr]_[A-Za-z0-9]{36}")),
    ("a token of GitHub", _form(b"github_pat_", rb"\w{22}")),
    ("a token of GitLab", _form(b"glpat-", rb"[\w-]{20}")),
    ("a token of Slack", _form(b"xox", rb"[a-z]-[A-Za-z0-9-]{10}")),
    ("a token of PyPI", _form(b"pypi-", rb"[\w-]{50}")),
    ("a token of npm", _form(b"npm_", rb"[A-Za-z0-9]{36}")),
    # a name in words, such as sk-learn-pipelines, has no twenty letters and digits on end
    ("an API key", _form(b"sk-", rb"(?=[\w-]*\d)[\w-]*[A-Za-z0-9]{20}", not_after=_WORD)),
    ("an API key", _form(b"k_live_", rb"[A-Za-z0-9]{20}")),
    ("a key of AWS", _form(b"AKIA", rb"[A-Z2-7]{16}(?![A-Za-z0-9+/=])", not_after=_BASE64)),
    ("a key of AWS", _form(b"ASIA", rb"[A-Z2-7]{16}(?![A-Za-z0-9+/=])", not_after=_BASE64)),
    ("a key of Google", _form(b"AIza", rb"[\w-]{35}(?![\w+/=-])", not_after=_BASE64)),
    ("a JSON web token", _form(b"eyJ", rb"[\w-]{10,500}\.eyJ[\w-]{10,}\.[\w-]{10}")),
    ("a private key", _form(b"-----BEGIN ", rb"[A-Z ]{0,30}PRIVATE KEY")),
    ("a private key", _form(b"PuTTY-User-Key-File-", rb"\d")),
)
# A placeholder is no password: user:<password>@, user:$PASSWORD@, user:***@.
_PLACEHOLDER = rb"(?![${*%]|(?i:password|passwd|pass|secret|token|x+)@)"
_PASSWORD = rb"[^\s/:@\"'<>()]{0,80}:" + _PLACEHOLDER + rb"[^\s/@\"'<>]{2,200}@[A-Za-z0-9\[]"
_IN_TEXT = (*_EXACT, ("a password in an address", _form(b"://", _PASSWORD)))
# In a card, punctuation is escaped; in JSON, a letter may be part of the escape of a line end.
_ESCAPES = {".md": re.compile(rb"\\([!-/:-@\[-`{-~])"), ".json": re.compile(rb"\\([/\"])|\\[nrt]")}


@dataclass(frozen=True)
class Secret:
    """What looks like a secret; never the secret itself.

    Attributes:
        kind: Its form, in words.
        place: The line of a text, or the byte of another file, in words.
    """

    kind: str
    place: str


def find_secret(name: str, content: bytes, *, token: str = "") -> Secret | None:
    """Return the first thing in a file that looks like a secret, or None.

    In a `.safetensors` file, addresses with a password are searched in the header only: the
    bytes of tensors contain their short form by chance.

    Args:
        name: Name of the file.
        content: Its bytes.
        token: The user's own token of the Hub, of any form; may be empty.
    """
    own = (("your token of the Hub", re.compile(re.escape(token.encode()))),) if token else ()
    if name.endswith(".safetensors"):
        header = 8 + int.from_bytes(content[:8], "little")
        return _first(content[:header], (*own, *_IN_TEXT)) or _first(content, (*own, *_EXACT))
    for ending, escape in _ESCAPES.items():
        if name.endswith(ending):
            content = escape.sub(lambda found: found[1] or b" ", content)
    return _first(content, (*own, *_IN_TEXT), unit="line")


def _first(
    content: bytes, forms: tuple[tuple[str, re.Pattern[bytes]], ...], *, unit: str = "byte"
) -> Secret | None:
    for kind, form in forms:
        if found := form.search(content):
            start = found.start()
            number = content.count(b"\n", 0, start) + 1 if unit == "line" else start
            return Secret(kind, f"{unit} {number}")
    return None
