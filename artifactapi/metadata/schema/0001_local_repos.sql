-- Local docker repos: repos, images, blobs, manifests, tags and upload sessions.
-- Names, tags and digests sort by byte (COLLATE "C"): `last` in a listing must not depend on the server's locale.

CREATE TABLE repos (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    package_type text NOT NULL,
    repo_type    text NOT NULL,
    settings     jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

-- An image exists from its first blob or manifest on.
CREATE TABLE images (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repo_id    bigint NOT NULL REFERENCES repos ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (repo_id, name)
);

-- Content by digest, once for all repos. The bytes are in `content` while they are small, else under `object_key`.
CREATE TABLE blobs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest     text COLLATE "C" NOT NULL UNIQUE,
    size       bigint NOT NULL CHECK (size >= 0),
    object_key text COLLATE "C" UNIQUE,
    content    bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The last time a client was promised that this blob is here.
    touched_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((object_key IS NULL) <> (content IS NULL))
);
-- Layers' configs do not shrink much, and are read far more often than written.
ALTER TABLE blobs ALTER COLUMN content SET STORAGE EXTERNAL;

-- What an image may serve: a blob is visible only where it was pushed or mounted.
CREATE TABLE image_blobs (
    image_id   bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    blob_id    bigint NOT NULL REFERENCES blobs,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, blob_id)
);
CREATE INDEX image_blobs_blob ON image_blobs (blob_id);

CREATE TABLE manifests (
    image_id      bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    digest        text COLLATE "C" NOT NULL,
    media_type    text NOT NULL,
    -- As referrers shows it: the manifest's own, else its config's media type.
    artifact_type text,
    subject       text COLLATE "C",
    annotations   jsonb NOT NULL DEFAULT '{}',
    size          bigint NOT NULL,
    content       bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, digest)
);
ALTER TABLE manifests ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX manifests_subject ON manifests (image_id, subject, digest) WHERE subject IS NOT NULL;

-- What a manifest names: a blob it needs is alive while this row is.
CREATE TABLE manifest_refs (
    image_id bigint NOT NULL,
    digest   text COLLATE "C" NOT NULL,
    child    text COLLATE "C" NOT NULL,
    kind     text NOT NULL, -- config, layer or manifest
    PRIMARY KEY (image_id, digest, child),
    FOREIGN KEY (image_id, digest) REFERENCES manifests ON DELETE CASCADE
);
CREATE INDEX manifest_refs_child ON manifest_refs (image_id, child);

CREATE TABLE tags (
    image_id   bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL,
    digest     text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (image_id, name),
    FOREIGN KEY (image_id, digest) REFERENCES manifests ON DELETE CASCADE
);
CREATE INDEX tags_digest ON tags (image_id, digest);

CREATE TABLE upload_sessions (
    id          uuid PRIMARY KEY,
    repo_id     bigint NOT NULL REFERENCES repos ON DELETE CASCADE,
    image       text COLLATE "C" NOT NULL,
    algorithm   text NOT NULL,
    -- Where the bytes will stay for good: random, never used twice.
    object_key  text COLLATE "C" NOT NULL UNIQUE,
    -- Durable bytes so far; what follows describes exactly these.
    "offset"    bigint NOT NULL DEFAULT 0,
    -- The bytes themselves while they are few; NULL once they are in the store.
    content     bytea DEFAULT '',
    hash_state  bytea,
    -- Not NULL as soon as there may be anything under object_key: set before the first byte goes there.
    store_state jsonb,
    -- Counts the writers: each takes the next number, and loses the session to whoever takes the one after.
    fence       bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX upload_sessions_repo ON upload_sessions (repo_id, image);
CREATE INDEX upload_sessions_idle ON upload_sessions (updated_at);

-- The outbox: objects no row names any more. The rows went first; the bytes go next, then the row here.
CREATE TABLE doomed_objects (
    key         text COLLATE "C" PRIMARY KEY,
    store_state jsonb, -- of an object that was never committed
    -- Not at once: a request that lost its session, and does not know it yet, may still begin the object.
    after       timestamptz NOT NULL DEFAULT now() + interval '10 minutes'
);
CREATE INDEX doomed_objects_after ON doomed_objects (after);
