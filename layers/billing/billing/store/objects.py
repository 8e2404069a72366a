"""Plans, batches and reports in S3. A plan of 100,000 contracts never sits in memory: it goes through a file.

```
runs/<month>/<generation>/<company>/<planning>/plan.jsonl    one line per contract
runs/.../<planning>/lines-<round>.jsonl                      the plan's lines that are billed, in the lane's order
runs/.../<planning>/batches-<round>.jsonl                    a message a line, read by the distributed Map; where its
                                                             lines lie in the file above, and their SHA-256
runs/.../<planning>/cancelled.json                           orders that people cancelled in Omie, when there are many
reports/<month>/<name>                                       report.html, report.csv, report.json
discarded/<id>.json                                          a dead letter that a person took out of the queue
looks/<company>.json                                         what Omie last showed to be billed: {"asked_at", "to_bill"}
looks/<company>/answers.json                                 what else it answered in the last minute
looks/<company>/contracts-<page>.json                        a page of its contracts: [asked at, contratoCadastro ...]
```
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from billing.domain.text import encodable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ObjectMissing(LookupError):  # noqa: N818
    """There is no such object."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key}")


def plan_key(month: object, generation: int | str, company: str, planning: str) -> str:
    """`planning` names one planner's work: should two plan at once, neither writes over what the other's hash says."""
    return f"runs/{month}/{generation}/{company}/{planning}/plan.jsonl"


def batches_key(plan: str, round_: int) -> str:
    """Beside the plan of that key."""
    return f"{plan.removesuffix('plan.jsonl')}batches-{round_}.jsonl"


def lines_key(plan: str, round_: int) -> str:
    """Beside the plan of that key."""
    return f"{plan.removesuffix('plan.jsonl')}lines-{round_}.jsonl"


def cancelled_orders_key(plan: str) -> str:
    """Beside the plan of that key."""
    return f"{plan.removesuffix('plan.jsonl')}cancelled.json"


def discarded_key(letter: str) -> str:
    return f"discarded/{letter}.json"


def look_key(company: str) -> str:
    return f"looks/{company}.json"


def answers_key(company: str) -> str:
    return f"looks/{company}/answers.json"


def page_key(company: str, page: int) -> str:
    return f"looks/{company}/contracts-{page}.json"


def report_key(month: object, name: str) -> str:
    return f"reports/{month}/{name}"


class PlanWriter:
    """Lines into one S3 object: `with objects.plan_writer(key) as plan: plan.write(line)`.

    The lines wait in an unnamed temporary file; the object appears, whole, when the block ends well, and not
    at all when it ends with an exception.
    """

    def __init__(self, s3: "S3Client", bucket: str, key: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self.key = key
        self.lines = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def write(self, line: str) -> None:
        """One line, without its end."""
        self._file.write(encodable(line).encode() + b"\n")
        self.lines += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._s3.upload_fileobj(
                    self._file,
                    self._bucket,
                    self.key,
                    ExtraArgs={"ContentType": "application/x-ndjson; charset=utf-8"},
                )


class ObjectStore:
    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    def plan_writer(self, key: str) -> PlanWriter:
        return PlanWriter(self._s3, self.bucket, key)

    def read_lines(self, key: str) -> Iterator[str]:
        """The object's lines without their ends, one at a time. Raises ObjectMissing at the first.

        The object is copied to an unnamed temporary file first: the reader may take minutes between two
        lines, which S3's connection would not survive.
        """
        with tempfile.TemporaryFile() as file:
            try:
                self._s3.download_fileobj(self.bucket, key, file)
            except ClientError as error:
                raise _missing(error, key) from None
            file.seek(0)
            for line in file:
                yield line.rstrip(b"\n").decode()

    def put_json(self, key: str, value: Mapping[str, Any] | list[Any]) -> None:
        self.put_text(key, json.dumps(value, ensure_ascii=False, sort_keys=True), "application/json")

    def get_json(self, key: str) -> Any:
        """The stored value. Raises ObjectMissing."""
        return json.loads(self.get_text(key))

    def put_text(self, key: str, text: str, content_type: str = "text/plain; charset=utf-8") -> None:
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=encodable(text).encode(), ContentType=content_type)

    def get_text(self, key: str) -> str:
        """The stored text. Raises ObjectMissing."""
        return self.get_bytes(key).decode()

    def get_bytes(self, key: str) -> bytes:
        """As it is stored. Raises ObjectMissing."""
        try:
            body = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"]
        except ClientError as error:
            raise _missing(error, key) from None
        with body:
            return body.read()

    def get_part(self, key: str, start: int, length: int) -> bytes:
        """So many bytes of it from `start` on, fewer where it ends; `length` > 0. Raises ObjectMissing."""
        try:
            body = self._s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-{start + length - 1}")["Body"]
        except ClientError as error:
            raise _missing(error, key) from None
        with body:
            return body.read()


def _missing(error: ClientError, key: str) -> Exception:
    gone = error.response.get("Error", {}).get("Code") in {"404", "NoSuchKey"}
    return ObjectMissing(key) if gone else error
