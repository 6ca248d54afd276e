-- What a replica must know to begin an answer while another one fetches the blob; NULL while nobody knows.
ALTER TABLE fills ADD COLUMN size bigint;

-- What an upstream has said refers to a manifest.
CREATE TABLE remote_referrers (
    image_id    bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    subject     text COLLATE "C" NOT NULL,
    descriptors json NOT NULL,
    checked_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, subject)
);
