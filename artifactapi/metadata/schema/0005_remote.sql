-- Remote repos: what is cached of an upstream.

-- When the upstream last said that the tag stands for this manifest; NULL in repos that have no upstream.
ALTER TABLE tags ADD COLUMN checked_at timestamptz;

-- The last time that somebody pulled it, to the hour: what is evicted first. Only kept up for remote repos.
ALTER TABLE manifests ADD COLUMN pulled_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE image_blobs ADD COLUMN pulled_at timestamptz NOT NULL DEFAULT now();

-- Blobs that are being fetched: by one replica, as long as it is heard of.
CREATE TABLE fills (
    repo_id     bigint NOT NULL REFERENCES repos ON DELETE CASCADE,
    image       text COLLATE "C" NOT NULL,
    digest      text COLLATE "C" NOT NULL,
    session_id  uuid NOT NULL, -- the upload session that the bytes go into
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (repo_id, image, digest)
);

-- A virtual repo is known to each process, as what may be done is.
CREATE TRIGGER access_added AFTER INSERT ON repos FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
