"""The tables of the sample store: how they are, how they came to be so, and what is put into them."""

VERSION = 3
SAMPLES = """
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    form TEXT NOT NULL, digest TEXT NOT NULL, label INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    content BLOB, source TEXT NOT NULL, added_at TEXT NOT NULL, by_hand INTEGER NOT NULL DEFAULT 0, occurrence INTEGER NOT NULL,
    UNIQUE (form, digest, source, occurrence)
)
"""
INDEXES = (
    "CREATE INDEX samples_by_class ON samples (form, label, ordinal)",
    "CREATE INDEX samples_by_source ON samples (form, source)",
    "CREATE INDEX samples_of_version_2 ON samples (form, digest) WHERE occurrence < 0",
)
FILES_OF_VERSION_2 = """
CREATE TABLE files (
    form TEXT NOT NULL, reading TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL, fault TEXT,
    again INTEGER NOT NULL, PRIMARY KEY (form, reading, path)
) WITHOUT ROWID
"""
FILES = FILES_OF_VERSION_2.replace("again INTEGER NOT NULL,", "again INTEGER NOT NULL, inode INTEGER,")
SCHEMA = ";".join(
    (
        "CREATE TABLE forms (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID",
        SAMPLES,
        *INDEXES,
        FILES,
        "CREATE TABLE collections (order_id TEXT NOT NULL, number INTEGER NOT NULL, last_sample INTEGER NOT NULL, "
        "PRIMARY KEY (order_id, number)) WITHOUT ROWID",
    )
)
UPGRADES = {
    # Files are read once more, which brings no sample twice.
    1: ("DROP TABLE files", FILES_OF_VERSION_2, "ALTER TABLE samples ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0"),
    # Of equal samples one was kept, from whichever file: it becomes one of a file that is read once more, the others are added.
    2: (
        "DROP INDEX samples_by_class",
        "ALTER TABLE samples RENAME TO former_samples",
        SAMPLES,
        "INSERT INTO samples SELECT id, form, digest, label, ordinal, content, source, added_at, by_hand, -1 "
        "FROM former_samples",
        # Ids go on where they were, as work is settled on those before one of them.
        "DELETE FROM sqlite_sequence WHERE name = 'samples'",
        "INSERT INTO sqlite_sequence SELECT 'samples', seq FROM sqlite_sequence WHERE name = 'former_samples'",
        "DROP TABLE former_samples",
        *INDEXES,
        "ALTER TABLE files ADD COLUMN inode INTEGER",
        "UPDATE files SET size = -1",
    ),
}
"""From a version to the next."""

INSERT = """
INSERT INTO samples (form, digest, label, ordinal, content, source, added_at, by_hand, occurrence)
VALUES (
  :form, :digest, :label, (SELECT ifnull(max(ordinal) + 1, 0) FROM samples WHERE form = :form AND label = :label),
  :content, :source, :now, :by_hand, :occurrence
)
ON CONFLICT (form, digest, source, occurrence) DO UPDATE SET content = excluded.content WHERE content IS NULL AND :by_hand
"""
TAKE_OVER = """
UPDATE OR IGNORE samples SET source = :source, occurrence = :occurrence
WHERE form = :form AND digest = :digest AND occurrence < 0 AND (
  source = :source OR substr(:source, -length(source) - 1) = '/' || source OR content IS NULL OR (:by_hand AND by_hand)
  OR (:known AND NOT by_hand)
)
"""
"""Version 2 kept one of equal samples: its own file takes it over, or one that was read then; a deleted one is any file's."""
