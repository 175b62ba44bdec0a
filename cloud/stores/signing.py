"""Presigned URLs that bind more than the host: AWS Signature Version 4, in the query.

The minio client signs `host` alone, so whoever has its URL decides on every other header. Source: "Authenticating Requests:
Using Query Parameters (AWS Signature Version 4)", Amazon S3 API Reference.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

if TYPE_CHECKING:
    from minio.credentials.credentials import Credentials

MOST_SECONDS = 7 * 24 * 3600
"""S3 takes no URL that lives longer."""


def presigned(
    method: str,
    url: str,
    credentials: "Credentials",
    region: str,
    at: datetime,
    expires_seconds: int,
    headers: Mapping[str, str],
) -> str:
    """Sign one verb on one object, and headers that must then be sent as they are.

    Args:
        method: GET or PUT.
        url: Of the object, escaped, without a query.
        credentials: Whose rights the URL gives.
        region: The bucket's.
        at: When it begins to hold, in UTC.
        expires_seconds: How long it holds from then on, at most seven days.
        headers: Beside the host, by name.
    """
    parts = urlsplit(url)
    signed = {name.lower(): value for name, value in headers.items()} | {"host": parts.netloc}
    names = ";".join(sorted(signed))
    scope = f"{at:%Y%m%d}/{region}/s3/aws4_request"
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": f"{at:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token:
        fields["X-Amz-Security-Token"] = credentials.session_token
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(fields.items()))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = "\n".join([method, parts.path, query, lines, names, "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", fields["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return f"{url}?{query}&X-Amz-Signature={_hmac(key, text).hex()}"


def life_of(url: str) -> tuple[datetime, float] | None:
    """When a URL begins to hold, and for how many seconds; none: it is not presigned."""
    query = parse_qs(urlsplit(url).query)
    if "X-Amz-Date" not in query or "X-Amz-Expires" not in query:
        return None
    begin = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return begin, float(query["X-Amz-Expires"][0])


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
