"""The database schema, of the version that `SCHEMA` says, as SQLAlchemy tables: the same for SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

from aggregator.store.location import SCHEMA as SCHEMA


def name_of(length_max: int) -> String:
    """A text that sorts by code point in every store; PostgreSQL sorts by its own language unless told."""
    return String(length_max).with_variant(Text(collation="C"), "postgresql")


# SQLite numbers rows by itself only in a column of this very type
ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

# what is known of a report without reading it
SUMMARY = ("space", "device", "epoch", "counter", "samples", "counts")

metadata = MetaData()

numbers = Table(
    "numbers",
    metadata,
    Column("name", name_of(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("first_seen_s", Float, nullable=False),
    Column("last_seen_s", Float, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("reported", LargeBinary, nullable=False),
    Column("metrics", LargeBinary, nullable=False),
    Column("metrics_epoch", BigInteger, nullable=False),
    Column("metrics_counter", BigInteger, nullable=False),
    Column("class_count", Integer, nullable=False),
)

statistics = Table(
    "statistics",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False),
    Column("space", name_of(64), nullable=False, index=True),
    Column("payload", LargeBinary, nullable=False),
    Column("samples", BigInteger, nullable=False, server_default="-1"),
    Column("counts", Text, nullable=False, server_default=""),
)
# SQLite reads all of a payload to find what comes after it, which starting must not: this holds all that it asks for
SUMMARIES = Index("ix_statistics_summaries", *(statistics.c[name] for name in SUMMARY)).ddl_if(dialect="sqlite")

told = Table(
    "told",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

sequences = Table(
    "sequences",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("life", BigInteger, nullable=False, server_default="0"),
    Column("history", Text, nullable=False, server_default=""),
)

updates = Table(
    "updates",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("space", name_of(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received_s", Float, nullable=False),
)

parts = Table(
    "parts",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("device", name_of(64), nullable=False, index=True),
    Column("epoch", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("sha256", name_of(64), nullable=False),
    Column("part", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

heads = Table(
    "heads",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("method", name_of(16), nullable=False),
    Column("space", name_of(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("published_s", Float, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("device", name_of(64), nullable=False, index=True),
    Column("name", name_of(256), nullable=False),
    Column("detail", Text, nullable=False),
    Column("received_s", Float, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("reason", name_of(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("problem", Text, nullable=False),
    Column("last_s", Float, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("sha256", name_of(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("name", name_of(256), nullable=False),
    Column("version", name_of(64), nullable=False),
    Column("release", BigInteger, nullable=False),
    Column("space", name_of(64), nullable=False),
    Column("ordered_s", Float, nullable=False),
    Column("done", Boolean, nullable=False),
)

removal_requests = Table(
    "removal_requests",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("requested_s", Float, nullable=False),
)

clearings = Table(
    "clearings",
    metadata,
    Column("topic", name_of(256), primary_key=True),
)

removed_epochs = Table(
    "removed_epochs",
    metadata,
    Column("device", name_of(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
)
