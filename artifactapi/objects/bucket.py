"""A bucket: the calls to S3 that the store is made of, in threads, with their errors translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from twisted.logger import Logger
from urllib3.exceptions import HTTPError

from artifactapi.objects.interface import ObjectMissing
from artifactapi.oci.errors import Refused, StoreFull, Unavailable
from artifactapi.shield import together
from artifactapi.threads import Threads

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

P = ParamSpec("P")
T = TypeVar("T")
log = Logger()

AT_ONCE = 1000  # keys in one DeleteObjects, by the protocol
MISSING = ("NoSuchKey", "404", "NotFound")
LOST = ("InvalidPart", "InvalidPartOrder", "EntityTooSmall")
SINGLY = ("NotImplemented", "MissingContentMD5", "InvalidRequest", "501")
"""What those say to DeleteObjects that do not have it (Google), or want MD5 with it."""
FULL = ("InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "EntityTooLarge")
FORBIDDEN = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
RETRY = {"Retry-After": "2"}


class UploadMissing(Exception):
    """The multipart upload is not there: completed, aborted, or never begun."""


@dataclass(frozen=True, slots=True)
class Location:
    """Which bucket, and where. Credentials come the ways boto3 knows."""

    bucket: str
    endpoint: str | None
    region: str | None
    prefix: str


class Bucket:
    """The one client of a process, shared by its threads."""

    def __init__(self, location: Location, threads: Threads, connections: int) -> None:
        self._location = location
        self._threads = threads
        self._connections = connections
        self._client: S3Client

    async def start(self) -> None:
        """Make the client and see whether the bucket answers. Raises Unavailable, Refused."""
        self._client = await self._threads.run(_guarded, connect, self._location, self._connections)
        await self.check()

    async def check(self) -> None:
        """Ask for the bucket. Raises Unavailable; Refused if there is none, or we may not use it."""
        try:
            await self._run(self._client.head_bucket, Bucket=self._location.bucket)
        except ObjectMissing:
            raise Refused(f"there is no bucket {self._location.bucket!r}", headers=RETRY) from None

    async def put(self, key: str, pieces: list[bytes]) -> bool:
        """An object of its own. Empties the list. Returns whether it may be put once more, late: it was sent twice."""
        return sent_twice(await self._run(_put, self._client.put_object, pieces, **self._at(key)))

    async def begin(self, key: str) -> tuple[str, bool]:
        """The id of a new multipart upload; and whether there may be another one, whose answer was lost."""
        made = await self._run(self._client.create_multipart_upload, **self._at(key))
        return told(made, "UploadId"), sent_twice(made)

    async def part(self, key: str, upload: str, number: int, pieces: list[bytes]) -> str:
        """Upload a part; its ETag. Empties the list. Raises UploadMissing."""
        given = {**self._at(key), "UploadId": upload, "PartNumber": number}
        return told(await self._run(_put, self._client.upload_part, pieces, **given), "ETag").strip('"')

    async def complete(self, key: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        """Make an object of the parts. Raises UploadMissing; ObjectMissing when the parts are not what they were."""
        listed = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        given: dict[str, Any] = {**self._at(key), "UploadId": upload, "MultipartUpload": {"Parts": listed}}
        told(await self._run(self._client.complete_multipart_upload, **given), "ETag")

    async def size(self, key: str) -> int | None:
        """How many bytes the object has; None if it is not there."""
        try:
            return (await self._run(self._client.head_object, **self._at(key)))["ContentLength"]
        except ObjectMissing:
            return None

    async def read(self, keys: Sequence[str]) -> list[bytes]:
        """Small objects, whole. Raises ObjectMissing."""
        return [(await self._run(_get, self._client.get_object, **self._at(key))) for key in keys]

    async def open(self, key: str, start: int, length: int) -> StreamingBody | None:
        """A range of an object, at least one byte; None if it begins beyond the end. Raises ObjectMissing."""
        return await self._run(_open, self._client.get_object, start, length, **self._at(key))

    async def read_from(self, body: StreamingBody, size: int) -> bytes:
        """The next bytes; b"" at the end. Raises Unavailable when the connection breaks before."""
        return await self._run(body.read, size)

    async def url(self, key: str, seconds: int) -> str:
        """A presigned GET."""
        return await self._run(
            self._client.generate_presigned_url, "get_object", Params=self._at(key), ExpiresIn=seconds
        )

    async def delete(self, keys: Sequence[str]) -> frozenset[str]:
        """Delete these objects; those that are not there are no error. Returns the keys of those that stay."""
        batches = [[self._name(key) for key in keys[at : at + AT_ONCE]] for at in range(0, len(keys), AT_ONCE)]
        stuck = await together(*(self._run(self._delete, names) for names in batches))
        return frozenset(name.removeprefix(self._location.prefix) for name in set().union(*stuck))

    async def keys(self, after: str) -> list[str]:
        """Keys of objects and of multipart uploads after `after`, a page at a time, in order."""
        return await self._run(self._keys, after)

    def _keys(self, after: str) -> list[str]:
        bucket, prefix = self._location.bucket, self._name("blobs/")
        given = {"StartAfter": self._name(after)} if after else {}
        page = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **given)  # type: ignore[arg-type]
        objects = {found["Key"] for found in page.get("Contents", ())}
        last = max(objects) if page.get("IsTruncated") else None
        uploads = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        staged = {upload["Key"] for listed in uploads for upload in listed.get("Uploads", ())}
        within = {name for name in staged if name > self._name(after) and (last is None or name <= last)}
        return sorted(name.removeprefix(self._location.prefix) for name in objects | within)

    async def delete_below(self, key: str, keep: str | None) -> None:
        """Abort every multipart upload of `key`, then delete every object whose key begins with it, except `keep`."""
        await self._run(self._delete_below, self._name(key), None if keep is None else self._name(keep))

    def _delete(self, names: Sequence[str]) -> set[str]:
        given: Any = {"Objects": [{"Key": name} for name in names], "Quiet": True}
        try:
            answer = self._client.delete_objects(Bucket=self._location.bucket, Delete=given)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in SINGLY:
                raise
            return {name for name in names if not self._delete_one(name)}
        stuck = [one for one in answer.get("Errors", ()) if one.get("Code") not in MISSING]
        for one in stuck[:3]:
            log.error("S3: {key} cannot be deleted: {code}", key=one.get("Key"), code=one.get("Code"))
        return {one.get("Key", "") for one in stuck}

    def _delete_one(self, name: str) -> bool:
        try:
            self._client.delete_object(Bucket=self._location.bucket, Key=name)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            log.error("S3: {key} cannot be deleted: {code}", key=name, code=code)
            return code in MISSING
        return True

    def _delete_below(self, name: str, keep: str | None) -> None:
        bucket = self._location.bucket
        for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=name):
            for upload in page.get("Uploads", ()):
                self._abort(upload["Key"], upload["UploadId"])
        for listed in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=name):
            names = [found["Key"] for found in listed.get("Contents", ()) if found["Key"] != keep]
            if names and self._delete(names):
                raise Unavailable("the registry's object store does not delete what it should", headers=RETRY)

    def _abort(self, name: str, upload: str) -> None:
        with suppress(UploadMissing):
            _guarded(self._client.abort_multipart_upload, Bucket=self._location.bucket, Key=name, UploadId=upload)

    async def _run(self, function: Callable[..., T], *args: Any, **given: Any) -> T:
        return await self._threads.run(_guarded, function, *args, **given)

    def _name(self, key: str) -> str:
        return self._location.prefix + key

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._location.bucket, "Key": self._name(key)}


def connect(location: Location, connections: int) -> S3Client:
    """The client. For a thread: it reads files and takes a while."""
    session = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=location.endpoint,
        region_name=location.region or session.region_name or "us-east-1",
        config=Config(
            signature_version="s3v4",
            # A bucket's name as a host name is Amazon's own; every other server knows it in the path.
            s3={"addressing_style": "path" if location.endpoint else "virtual"},
            max_pool_connections=connections,
            # Look-alikes do not know the checksums that newer releases of boto3 send by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": 4},
            connect_timeout=5,
            read_timeout=30,
        ),
    )


def refused(operation: str, code: str) -> Unavailable | StoreFull:
    """The error for what a client can do nothing about. The server's own text may quote a request: it stays here."""
    log.error("S3: {operation} failed: {code}", operation=operation, code=code)
    if code in FULL:
        return StoreFull("the registry's object store is full")
    if code in FORBIDDEN:
        return Refused(f"the registry's object store refuses its credentials: {code}", headers=RETRY)
    return Unavailable(f"the registry's object store fails: {code}", headers=RETRY)


def told(answer: Mapping[str, Any], field: str) -> str:
    """What the answer must tell. Raises Unavailable: a 200 without it is none of S3's."""
    if not answer.get(field):
        raise refused("a request", f"its answer has no {field}")
    return str(answer[field])


def sent_twice(answer: Mapping[str, Any]) -> bool:
    """Whether boto3 sent the request again: the first one may have been done too, or may still be."""
    return bool(answer["ResponseMetadata"].get("RetryAttempts"))


def _put(call: Callable[..., Any], pieces: list[bytes], **given: Any) -> Any:
    # Joined here, in the thread, and not held twice. boto3 sends it again on a retry, so it must be bytes.
    body = b"".join(pieces)
    pieces.clear()
    return call(Body=body, **given)


def _get(call: Callable[..., Any], **given: Any) -> bytes:
    with call(**given)["Body"] as body:
        data: bytes = body.read()
    return data


def _open(call: Callable[..., Any], start: int, length: int, **given: Any) -> StreamingBody | None:
    try:
        answer = call(Range=f"bytes={start}-{start + length - 1}", **given)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
            return None
        raise
    body: StreamingBody = answer["Body"]
    if start and not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
        body.close()
        raise refused("GetObject", "the range was ignored")
    return body


def _guarded(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchUpload":
            raise UploadMissing from None
        if code in MISSING or code in LOST:
            raise ObjectMissing(f"{error.operation_name}: {code}") from None
        raise refused(error.operation_name, code) from None
    except NoCredentialsError:
        raise Refused("no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", headers=RETRY) from None
    except (BotoCoreError, HTTPError, OSError) as error:
        log.error("S3 does not answer: {error}", error=type(error).__name__)
        raise Unavailable("the registry's object store does not answer at the moment", headers=RETRY) from error
