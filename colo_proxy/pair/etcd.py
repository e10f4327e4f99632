"""The store as etcd, by its HTTP gateway (`/v3/kv/`, etcd 3.4): `read` and `swap` of one member, blocking.

One request swaps, or says what is there. A read is linearizable; a serializable one may be stale and is never
asked for. A member whose leader has just died loses what it was asked (it answers after 5 to 7 s, with 500 or
503), and such a swap has been seen to be applied later. So everything but an answer that can be read is a
StoreError: unknown. Whoever asks repeats the same swap, with its nonce, at every member until one answers.
"""

import base64
import binascii
import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from colo_proxy.pair.record import BadRecord, Record, decode, encode
from colo_proxy.pair.store import StoreError

_MAX_ANSWER = 64 * 1024  # bytes


class Member:
    """The record under `key`, by one member of the cluster; not for two threads at once.

    `endpoint` is `http://HOST:PORT` or `https://HOST:PORT`; `timeout` is in seconds, for each step of a call.
    No proxy is used and no redirection followed.
    """

    def __init__(
        self, endpoint: str, key: str, *, timeout: float = 1.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.endpoint = endpoint
        self._key = _base64(key.encode())
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or 2379
        self._connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout)
        )

    def close(self) -> None:
        """End the connection; the next call makes another."""
        self._connection.close()

    def read(self) -> Record | None:
        """What the store holds; None: nothing. Raises StoreError."""
        return self._found(self._ask("/v3/kv/range", {"key": self._key}))

    def swap(self, expect: Record | None, new: Record) -> Record | None:
        """Put `new` in the place of `expect`, if the store holds exactly that; returns what it then holds.

        Raises StoreError: then the swap may have been made, or may be made later.
        """
        compare: dict[str, object] = {"key": self._key, "result": "EQUAL"}
        if expect is None:
            compare |= {"target": "CREATE", "create_revision": "0"}
        else:
            compare |= {"target": "VALUE", "value": _base64(encode(expect))}
        put = {"request_put": {"key": self._key, "value": _base64(encode(new))}}
        look = {"request_range": {"key": self._key}}
        answer = self._ask("/v3/kv/txn", {"compare": [compare], "success": [put], "failure": [look]})
        if answer.get("succeeded") is True:
            return new
        if "succeeded" in answer and answer["succeeded"] is not False:
            raise StoreError(f"{self.endpoint}: `succeeded` is neither true nor false")
        match answer.get("responses"):
            case [{"response_range": dict(found)}]:
                return self._found(found)
        raise StoreError(f"{self.endpoint}: the answer does not say what the store holds")

    def _ask(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """The JSON object of the answer to this request."""
        try:
            content = {"Content-Type": "application/json"}
            self._connection.request("POST", path, json.dumps(body).encode(), content)
            response = self._connection.getresponse()
            data = response.read(_MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise StoreError(f"{self.endpoint}: {str(error) or type(error).__name__}") from None
        if response.status != http.client.OK or len(data) > _MAX_ANSWER:
            self.close()
            what = (
                f"HTTP status {response.status}"
                if response.status != http.client.OK
                else "too long an answer"
            )
            raise StoreError(f"{self.endpoint}: {what}")
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        # Each answer of etcd has a header with the cluster's identity; what has none is not etcd's.
        if not isinstance(answer, dict) or not isinstance(answer.get("header"), dict):
            raise StoreError(f"{self.endpoint}: the answer is not etcd's")
        return answer

    def _found(self, found: dict[str, Any]) -> Record | None:
        """The record in an answer to a range."""
        kvs = found.get("kvs", [])
        if kvs == [] and isinstance(found.get("header"), dict):
            return None
        match kvs:
            case [{"key": self._key, "value": str(value)}]:
                try:
                    return decode(base64.b64decode(value, validate=True))
                except (BadRecord, binascii.Error, ValueError) as error:
                    raise StoreError(
                        f"{self.endpoint}: what the store holds is not a record: {error}"
                    ) from None
        raise StoreError(f"{self.endpoint}: the answer does not say what the store holds")


def context(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, with this host's certificate; the authority must have certified the server's name."""
    tls = ssl.create_default_context(cafile=authority)
    tls.load_cert_chain(certificate, key)
    return tls


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
