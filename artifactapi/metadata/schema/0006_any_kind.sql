-- A digest may be a blob's and a manifest's in one image: what named it, as whichever, may have kept both.
CREATE OR REPLACE FUNCTION manifest_refs_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE image_blobs l SET idle_since = now() FROM gone g JOIN blobs b ON b.digest = g.child
        WHERE l.image_id = g.image_id AND l.blob_id = b.id;
    UPDATE manifests m SET idle_since = now() FROM gone g WHERE m.image_id = g.image_id AND m.digest = g.child;
    RETURN NULL;
END $$;
