"""The database's tables, for SQLite and PostgreSQL. Alembic's migrations make them; a test holds the two together.

Times are UTC. What is secret is a hash (`api_keys`, `device_logins`) or encrypted (`*_encrypted`), under a key that is
not in the database.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

__all__ = [
    "api_keys",
    "builds",
    "contexts",
    "device_logins",
    "environment_variables",
    "environments",
    "facts",
    "metadata",
    "projects",
    "task_upload_batches",
    "task_uploads",
    "tasks",
    "taskset_revisions",
    "tasksets",
    "uploads",
    "versions",
]

# Named constraints: a migration can only drop what has a name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a row id of INTEGER alone; PostgreSQL wants the long kind.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")
_TIME = DateTime(timezone=True)

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="What the platform knows of itself: `user_id` and `team_id`, made once",
)

projects = Table(
    "projects",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(255), nullable=False, unique=True, comment="normalised"),
    Column("description", Text),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", _TIME, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("prefix", String(32), nullable=False, comment="its first characters, to tell keys apart in a list"),
    Column("hash", LargeBinary(32), nullable=False, unique=True, comment="SHA-256; keys are random, 256 bits"),
    Column("scope", String(16), nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("last_used_at", _TIME),
    Column("revoked_at", _TIME),
)

device_logins = Table(
    "device_logins",
    metadata,
    Column("device_code_hash", LargeBinary(32), primary_key=True),
    Column("user_code", String(16), nullable=False, unique=True),
    Column("client_name", String(255), nullable=False),
    Column("state", String(16), nullable=False, comment="pending, approved, denied, taken"),
    Column("scope", String(16), comment="of the key that was approved; it is made when it is fetched"),
    Column("approved_by", ForeignKey(api_keys.c.id), comment="has to be live when the new key is made"),
    Column("created_at", _TIME, nullable=False),
    Column("expires_at", _TIME, nullable=False),
    Column("polled_at", _TIME),
)

environments = Table(
    "environments",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", ForeignKey(projects.c.id), nullable=False),
    Column("name", String(255), nullable=False, comment="normalised"),
    Column("declared_name", String(255), nullable=False, comment="as the code last declared it"),
    Column("runtime_provider", String(64)),
    Column("runtime_config", JSON),
    Column("current_version", Integer, comment="its number; none until a first build succeeds"),
    Column("created_at", _TIME, nullable=False),
    UniqueConstraint("project_id", "name"),
)

environment_variables = Table(
    "environment_variables",
    metadata,
    Column("environment_id", ForeignKey(environments.c.id, ondelete="CASCADE"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("value_encrypted", LargeBinary, nullable=False),
    Column("updated_at", _TIME, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("build_id", Uuid, primary_key=True),
    Column("created_at", _TIME, nullable=False),
    Column("completed_at", _TIME),
    Column("size_bytes", BigInteger),
    Column("sha256", String(64)),
    comment="Whole context archives, of the public flow",
)

contexts = Table(
    "contexts",
    metadata,
    Column("digest", String(64), primary_key=True, comment="SHA-256 of the manifest's bytes"),
    Column("files", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("used_at", _TIME, nullable=False, comment="what `gc` goes by"),
)

builds = Table(
    "builds",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("environment_id", ForeignKey(environments.c.id), nullable=False),
    Column("status", String(16), nullable=False),
    Column("queued", Boolean, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("context_digest", String(64), comment="of a context build; none for an archive"),
    Column("no_cache", Boolean, nullable=False),
    Column("build_args", JSON, nullable=False),
    Column("secrets_encrypted", LargeBinary, comment="for this one build; emptied when it ends (PA-12)"),
    Column("source_revision", String(255)),
    Column("key_id", ForeignKey(api_keys.c.id)),
    Column("version", Integer, comment="the number of the version it made"),
    Column("error_message", Text),
    Column("created_at", _TIME, nullable=False),
    Column("started_at", _TIME),
    Column("ended_at", _TIME),
    Index(None, "environment_id", "created_at"),
)

versions = Table(
    "versions",
    metadata,
    Column("environment_id", ForeignKey(environments.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("build_id", ForeignKey(builds.c.id)),
    Column("image", String(512), nullable=False, comment="a reference that the engine or a registry resolves"),
    Column("digest", String(128), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("manifest", JSON, nullable=False, comment="`hud.platform.records.Manifest`"),
    Column("context_digest", String(64)),
    Column("source_revision", String(255)),
    Column("rolled_back_to", Integer, comment="the earlier version whose image this one runs again"),
    Column("created_at", _TIME, nullable=False),
)

tasksets = Table(
    "tasksets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", ForeignKey(projects.c.id), nullable=False),
    Column("name", String(512), nullable=False, comment="exactly as it was given"),
    Column("normalised_name", String(512), nullable=False),
    Column("current_revision", Integer, nullable=False, comment="0 while it is empty and new"),
    Column("created_at", _TIME, nullable=False),
    UniqueConstraint("project_id", "name"),
    Index(None, "normalised_name"),
)

taskset_revisions = Table(
    "taskset_revisions",
    metadata,
    Column("taskset_id", ForeignKey(tasksets.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, comment="SHA-256 over the rows' slugs and digests, sorted by slug"),
    Column("tasks", Integer, nullable=False),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("removed", Integer, nullable=False),
    Column("rolled_back_to", Integer),
    Column("key_id", ForeignKey(api_keys.c.id)),
    Column("created_at", _TIME, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("taskset_id", ForeignKey(tasksets.c.id, ondelete="CASCADE"), nullable=False),
    Column("slug", Text, nullable=False),
    Column("digest", LargeBinary(20), nullable=False, comment="`hud.sync.signature.digest` of the row"),
    Column("added_in", Integer, nullable=False, comment="the first revision that has this row"),
    Column("removed_in", Integer, comment="the first one that no longer has it; none while it is live"),
    # Last: SQLite reads through a large value to reach what is behind it.
    Column("row", LargeBinary, nullable=False, comment="its export record as JSON, values as uploaded (PA-19)"),
    # One live row a slug, and the order of reading; rows of the past do not get in its way.
    Index("uq_tasks_live", "taskset_id", "slug", unique=True, sqlite_where=text("removed_in IS NULL"),
          postgresql_where=text("removed_in IS NULL")),
    Index("ix_tasks_past", "taskset_id", "removed_in", sqlite_where=text("removed_in IS NOT NULL"),
          postgresql_where=text("removed_in IS NOT NULL")),
)  # fmt: skip

task_uploads = Table(
    "task_uploads",
    metadata,
    Column("id", Uuid, primary_key=True, comment="chosen by the client: committing twice has one effect"),
    Column("created_at", _TIME, nullable=False),
    Column("result", JSON, comment="the reply, once it is committed"),
)

task_upload_batches = Table(
    "task_upload_batches",
    metadata,
    Column("upload_id", ForeignKey(task_uploads.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("rows", LargeBinary, nullable=False, comment="newline-delimited JSON"),
)
