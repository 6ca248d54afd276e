"""The requests that a push makes of S3 and of Postgres, as the proxies see them."""

from __future__ import annotations

BEGIN, COMPLETE = r"POST .*[?&]uploads", r"POST .*[?&]uploadId="
PART_1, PART_2, PART_3 = (rf"PUT .*[?&]partNumber={number}\b" for number in (1, 2, 3))
TAIL, READ_TAIL, DELETE = r"PUT .*\.\d+-\d+", r"GET .*\.\d+-\d+", r"POST .*[?&]delete"
START, CLAIM, ROW, COMMIT = "INSERT INTO upload_sessions", r"fence = fence \+ 1", 'SET "offset"', "INSERT INTO blobs"
NAMES = {
    BEGIN: "begin",
    COMPLETE: "complete",
    PART_1: "part 1",
    PART_2: "part 2",
    PART_3: "part 3",
    TAIL: "tail",
    READ_TAIL: "read tail",
    DELETE: "delete tail",
    START: "start",
    CLAIM: "claim",
    ROW: "row",
    COMMIT: "transaction",
}
