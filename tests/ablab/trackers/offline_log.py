"""Reads the file that wandb writes offline: a LevelDB log of protobuf records."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7


@dataclass
class OfflineRun:
    """What ``wandb sync`` would send; ``exit_code`` is None for a run that was cut short."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read_offline_run(path: Path) -> OfflineRun:
    from wandb.proto.wandb_internal_pb2 import Record

    run = OfflineRun()
    for content in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(content)
        match record.WhichOneof("record_type"):
            case "run":
                run.id, run.name, run.group = (
                    record.run.run_id,
                    record.run.display_name,
                    record.run.run_group,
                )
                run.job_type = record.run.job_type
                run.tags = list(record.run.tags)
                run.config |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
            case "history":
                items = record.history.item
                run.history.append(
                    {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
                )
            case "summary":
                run.summary |= {
                    ".".join(i.nested_key) or i.key: json.loads(i.value_json)
                    for i in record.summary.update
                }
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _records(data: bytes) -> list[bytes]:
    records, pending, offset = [], b"", HEADER
    assert data[:4] == b":W&B"
    while offset + HEADER <= len(data):
        left = BLOCK - offset % BLOCK
        if left < HEADER:
            offset += left
            continue
        _, length, kind = struct.unpack("<IHB", data[offset : offset + HEADER])
        if kind == 0:
            break
        pending += data[offset + HEADER : offset + HEADER + length]
        offset += HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(pending)
            pending = b""
    return records
