"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column(
            "prefix", sa.String(length=32), nullable=False, comment="its first characters, to tell keys apart in a list"
        ),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False, comment="SHA-256; keys are random, 256 bits"),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_table(
        "contexts",
        sa.Column("digest", sa.String(length=64), nullable=False, comment="SHA-256 of the manifest's bytes"),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False, comment="what `gc` goes by"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_contexts")),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
        comment="What the platform knows of itself: `user_id` and `team_id`, made once",
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False, comment="normalised"),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "task_uploads",
        sa.Column("id", sa.Uuid(), nullable=False, comment="chosen by the client: committing twice has one effect"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True, comment="the reply, once it is committed"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_uploads")),
    )
    op.create_table(
        "uploads",
        sa.Column("build_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("build_id", name=op.f("pk_uploads")),
        comment="Whole context archives, of the public flow",
    )
    op.create_table(
        "device_logins",
        sa.Column("device_code_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_code", sa.String(length=16), nullable=False),
        sa.Column("client_name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="pending, approved, denied, taken"),
        sa.Column(
            "scope",
            sa.String(length=16),
            nullable=True,
            comment="of the key that was approved; it is made when it is fetched",
        ),
        sa.Column("approved_by", sa.Uuid(), nullable=True, comment="has to be live when the new key is made"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["approved_by"], ["api_keys.id"], name=op.f("fk_device_logins_approved_by_api_keys")),
        sa.PrimaryKeyConstraint("device_code_hash", name=op.f("pk_device_logins")),
        sa.UniqueConstraint("user_code", name=op.f("uq_device_logins_user_code")),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False, comment="normalised"),
        sa.Column("declared_name", sa.String(length=255), nullable=False, comment="as the code last declared it"),
        sa.Column("runtime_provider", sa.String(length=64), nullable=True),
        sa.Column("runtime_config", sa.JSON(), nullable=True),
        sa.Column(
            "current_version", sa.Integer(), nullable=True, comment="its number; none until a first build succeeds"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_environments_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_environments_project_id_name")),
    )
    op.create_table(
        "task_upload_batches",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=False, comment="newline-delimited JSON"),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["task_uploads.id"],
            name=op.f("fk_task_upload_batches_upload_id_task_uploads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("upload_id", "number", name=op.f("pk_task_upload_batches")),
    )
    op.create_table(
        "tasksets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False, comment="exactly as it was given"),
        sa.Column("normalised_name", sa.String(length=512), nullable=False),
        sa.Column("current_revision", sa.Integer(), nullable=False, comment="0 while it is empty and new"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_tasksets_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasksets")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_tasksets_project_id_name")),
    )
    with op.batch_alter_table("tasksets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tasksets_normalised_name"), ["normalised_name"], unique=False)

    op.create_table(
        "builds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("queued", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column(
            "context_digest", sa.String(length=64), nullable=True, comment="of a context build; none for an archive"
        ),
        sa.Column("no_cache", sa.Boolean(), nullable=False),
        sa.Column("build_args", sa.JSON(), nullable=False),
        sa.Column(
            "secrets_encrypted",
            sa.LargeBinary(),
            nullable=True,
            comment="for this one build; emptied when it ends (PA-12)",
        ),
        sa.Column("source_revision", sa.String(length=255), nullable=True),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True, comment="the number of the version it made"),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_builds_environment_id_environments")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_builds_key_id_api_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builds")),
    )
    with op.batch_alter_table("builds", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_builds_environment_id_builds_created_at"), ["environment_id", "created_at"], unique=False
        )

    op.create_table(
        "environment_variables",
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_environment_variables_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("environment_id", "name", name=op.f("pk_environment_variables")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("taskset_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column(
            "digest", sa.LargeBinary(length=20), nullable=False, comment="`hud.sync.signature.digest` of the row"
        ),
        sa.Column("added_in", sa.Integer(), nullable=False, comment="the first revision that has this row"),
        sa.Column(
            "removed_in",
            sa.Integer(),
            nullable=True,
            comment="the first one that no longer has it; none while it is live",
        ),
        sa.Column(
            "row",
            sa.LargeBinary(),
            nullable=False,
            comment="its export record as JSON, values as uploaded (PA-19)",
        ),
        sa.ForeignKeyConstraint(
            ["taskset_id"], ["tasksets.id"], name=op.f("fk_tasks_taskset_id_tasksets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index(
            "ix_tasks_past",
            ["taskset_id", "removed_in"],
            unique=False,
            sqlite_where=sa.text("removed_in IS NOT NULL"),
            postgresql_where=sa.text("removed_in IS NOT NULL"),
        )
        batch_op.create_index(
            "uq_tasks_live",
            ["taskset_id", "slug"],
            unique=True,
            sqlite_where=sa.text("removed_in IS NULL"),
            postgresql_where=sa.text("removed_in IS NULL"),
        )

    op.create_table(
        "taskset_revisions",
        sa.Column("taskset_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "digest",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 over the rows' slugs and digests, sorted by slug",
        ),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("rolled_back_to", sa.Integer(), nullable=True),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_taskset_revisions_key_id_api_keys")),
        sa.ForeignKeyConstraint(
            ["taskset_id"], ["tasksets.id"], name=op.f("fk_taskset_revisions_taskset_id_tasksets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("taskset_id", "number", name=op.f("pk_taskset_revisions")),
    )
    op.create_table(
        "versions",
        sa.Column("environment_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=True),
        sa.Column(
            "image", sa.String(length=512), nullable=False, comment="a reference that the engine or a registry resolves"
        ),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False, comment="`hud.platform.records.Manifest`"),
        sa.Column("context_digest", sa.String(length=64), nullable=True),
        sa.Column("source_revision", sa.String(length=255), nullable=True),
        sa.Column(
            "rolled_back_to", sa.Integer(), nullable=True, comment="the earlier version whose image this one runs again"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name=op.f("fk_versions_build_id_builds")),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_versions_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("environment_id", "number", name=op.f("pk_versions")),
    )


def downgrade() -> None:
    for table in (
        "versions",
        "taskset_revisions",
        "tasks",
        "environment_variables",
        "builds",
        "tasksets",
        "task_upload_batches",
        "environments",
        "device_logins",
        "uploads",
        "task_uploads",
        "projects",
        "facts",
        "contexts",
        "api_keys",
    ):
        op.drop_table(table)
