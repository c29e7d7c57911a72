"""The statements about blobs."""

from __future__ import annotations

from storage.driver.statements import Command, Query

ADD = Command(
    """
    INSERT INTO blobs (sha256, size, until_ms) VALUES (:sha256, :size, :until_ms)
    ON CONFLICT (sha256) DO UPDATE SET
      until_ms = CASE WHEN excluded.until_ms > blobs.until_ms THEN excluded.until_ms ELSE blobs.until_ms END
    """
)
ADD_PIECE = Command(
    """
    INSERT INTO blob_pieces (sha256, number, piece) VALUES (:sha256, :number, :piece)
    ON CONFLICT (sha256, number) DO NOTHING
    """
)
PIECE = Query("SELECT piece FROM blob_pieces WHERE sha256 = :sha256 AND number = :number", bytes)
HOLD = Query(
    "SELECT sha256 FROM blobs WHERE sha256 IN (:hashes) ORDER BY sha256 /*postgresql FOR UPDATE */", str
)
USE = Command(
    """
    INSERT INTO blob_uses (sha256, used_by) VALUES (:sha256, :used_by)
    ON CONFLICT (sha256, used_by) DO NOTHING
    """
)
KNOWN = Query("SELECT sha256 FROM blobs WHERE sha256 IN (:hashes)", str)

# Pruning.

OLD = Query(
    """
    SELECT sha256 FROM blobs WHERE until_ms <= :now_ms ORDER BY sha256 LIMIT :most
    /*postgresql FOR UPDATE SKIP LOCKED */
    """,
    str,
)
END_USES = Command(
    """
    DELETE FROM blob_uses WHERE sha256 IN (:hashes) AND NOT EXISTS (
      SELECT 1 FROM submissions
      WHERE submissions.id = blob_uses.used_by AND (submissions.state IN (:open) OR submissions.updated_at_ms > :since_ms)
    )
    """
)
USED = Query("SELECT DISTINCT sha256 FROM blob_uses WHERE sha256 IN (:hashes)", str)
PROLONG = Command("UPDATE blobs SET until_ms = :until_ms WHERE sha256 IN (:hashes)")
DROP = Command("DELETE FROM blobs WHERE sha256 IN (:hashes)")
DROP_PIECES = Command("DELETE FROM blob_pieces WHERE sha256 IN (:hashes)")
