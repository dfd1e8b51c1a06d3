"""What looks like a password, a key or a token in a text that others will read, such as a where-file or a study file.

Where such things belong is said by those who look (``resources``, ``submission``). Standard library only.
"""

import re

KEYS = (
    ("a password in a URL", re.compile(r"://[^/\s:@\"']*:[^/\s@\"']+@")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
)
SETTINGS = (  # in Python these are ordinary names, so they are looked for in where-files only
    ("a signed URL", re.compile(r"(?i)[?&](?:sig|signature|x-amz-[a-z]+)=")),
    (
        "a secret",
        re.compile(r"(?i)[\w-]*(?:secret|token|passw(?:or)?d|access_?key|api_?key)[\w-]*\s*[=:]\s*['\"]?[^\s'\"]{4}"),
    ),
)


def first(text: str, *, settings: bool, known: str = "") -> tuple[int, str] | None:
    """Return the line (from 1) of the first thing that looks secret, and what it is; never the thing itself.

    ``settings`` looks for names of settings too, as in a where-file; ``known`` is a secret that is known as it is.
    """
    patterns = KEYS + SETTINGS if settings else KEYS
    for number, line in enumerate(text.splitlines(), 1):
        found = [what for what, pattern in patterns if pattern.search(line)]
        if known and known in line:
            found.append("the token of the cluster")
        if found:
            return number, found[0]
    return None
