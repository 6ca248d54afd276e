-- Garbage collection. `idle_since`: since when nothing is known to need the row. NULL: something did when the sweep
-- looked last; what stops to need it sets the time again. So a sweep looks at what has changed, never at all there is.
-- (blobs.touched_at is no longer read.)

ALTER TABLE image_blobs ADD COLUMN idle_since timestamptz DEFAULT now();
CREATE INDEX image_blobs_idle ON image_blobs (idle_since) WHERE idle_since IS NOT NULL;

ALTER TABLE blobs ADD COLUMN idle_since timestamptz DEFAULT now();
CREATE INDEX blobs_idle ON blobs (idle_since) WHERE idle_since IS NOT NULL;

ALTER TABLE manifests ADD COLUMN idle_since timestamptz DEFAULT now();
CREATE INDEX manifests_idle ON manifests (image_id, idle_since) WHERE idle_since IS NOT NULL;

-- A link went, by whatever way: nobody may use its blob any more.
CREATE FUNCTION image_blobs_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE blobs SET idle_since = now() WHERE id IN (
        SELECT b.id FROM blobs b WHERE b.id IN (SELECT blob_id FROM gone) ORDER BY b.id FOR NO KEY UPDATE
    );
    RETURN NULL;
END $$;
CREATE TRIGGER image_blobs_gone AFTER DELETE ON image_blobs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION image_blobs_gone();

-- A manifest went: what it named may not be needed any more.
CREATE FUNCTION manifest_refs_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE image_blobs l SET idle_since = now() FROM gone g JOIN blobs b ON b.digest = g.child
        WHERE g.kind <> 'manifest' AND l.image_id = g.image_id AND l.blob_id = b.id;
    UPDATE manifests m SET idle_since = now() FROM gone g
        WHERE g.kind = 'manifest' AND m.image_id = g.image_id AND m.digest = g.child;
    RETURN NULL;
END $$;
CREATE TRIGGER manifest_refs_gone AFTER DELETE ON manifest_refs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION manifest_refs_gone();

-- A subject went: those that refer to it have nothing to refer to.
CREATE FUNCTION manifests_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE manifests m SET idle_since = now() FROM gone g WHERE m.image_id = g.image_id AND m.subject = g.digest;
    RETURN NULL;
END $$;
CREATE TRIGGER manifests_gone AFTER DELETE ON manifests REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION manifests_gone();

-- A tag went, or moved.
CREATE FUNCTION tags_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE manifests m SET idle_since = now() FROM gone g WHERE m.image_id = g.image_id AND m.digest = g.digest;
    RETURN NULL;
END $$;
CREATE TRIGGER tags_deleted AFTER DELETE ON tags REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION tags_gone();
CREATE TRIGGER tags_moved AFTER UPDATE ON tags REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION tags_gone();

-- Runs of the collector; the one without an end holds the right to collect, as long as it is heard of.
CREATE TABLE gc_runs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    counts     jsonb NOT NULL DEFAULT '{}',
    failures   jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX gc_runs_running ON gc_runs (seen_at) WHERE ended_at IS NULL;
