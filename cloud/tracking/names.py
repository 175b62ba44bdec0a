"""Names as MLflow takes them. Records keep the names that people gave; here, and nowhere else, they are made to fit."""

import hashlib
import re
import unicodedata

_MOST_CHARACTERS = 250
_PART = r"[\w-](?:[\w. -]*[\w.-])?"
_TAKEN = re.compile(rf"{_PART}(?:/{_PART})*")
_DIGITS = 8


def mlflow_name(name: str) -> str:
    """The name of a metric, a parameter or a tag in MLflow: the same, or one that reads like it and is no other's.

    MLflow takes letters and digits of all scripts, '_', '-', '.' and spaces, in parts joined by '/', at most 250 characters. Of
    any other name what fits is kept, and a digest of the whole tells it from those that read the same.
    """
    if len(name) <= _MOST_CHARACTERS and _TAKEN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    fitting = "/".join(map(_fitting, unicodedata.normalize("NFC", name).split("/")))
    return f"{fitting[: _MOST_CHARACTERS - 1 - _DIGITS]}-{digest}"


def _fitting(part: str) -> str:
    kept = re.sub(r"[^\w. -]", "_", part).strip(" ")
    return kept if re.match(r"[\w-]", kept) else f"_{kept}"
