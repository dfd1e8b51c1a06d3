"""Values of any size as the tags of a run, and back exactly: a tag holds a short text, so they lie over several.

Tags travel with the database itself; files of a run lie beside it or elsewhere, and may be out of reach. Which values
are kept so is decided in ``runs``.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

TAG_CHARACTERS = 4900  # 8000 are allowed; servers before MLflow 2.13 allow 5000


def split(name: str, value: Any) -> dict[str, str]:
    """Return a value as JSON over as many tags as it needs; ``joined`` puts it together again."""
    return _over_tags(name, _text(value))


def joined(name: str, tags: Mapping[str, str]) -> Any:
    """Return the value that ``split`` has laid over the tags of this name, None if there is none."""
    text = _from_tags(name, tags)
    return json.loads(text) if text else None


def packed(name: str, value: Any) -> dict[str, str]:
    """Return a large value as compressed JSON over tags; ``unpacked`` puts it together again."""
    return _over_tags(name, base64.b64encode(zlib.compress(_text(value).encode(), 9)).decode())


def unpacked(name: str, tags: Mapping[str, str]) -> Any:
    """Return the value that ``packed`` has laid over the tags of this name, None if there is none."""
    text = _from_tags(name, tags)
    return json.loads(zlib.decompress(base64.b64decode(text))) if text else None


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _over_tags(name: str, text: str) -> dict[str, str]:
    starts = range(0, len(text), TAG_CHARACTERS)
    return {f"{name}.{i:03}": text[start : start + TAG_CHARACTERS] for i, start in enumerate(starts)}


def _from_tags(name: str, tags: Mapping[str, str]) -> str:
    return "".join(tags[key] for key in sorted(tags) if key.startswith(f"{name}."))
