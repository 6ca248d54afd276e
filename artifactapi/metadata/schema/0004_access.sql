-- Access control: who there is, what they may, and what they did.

-- Grows with every change of who may what. Each process keeps a copy of that, and drops it when this has grown.
CREATE TABLE access_state (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL
);
INSERT INTO access_state (version) VALUES (1);

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text COLLATE "C" NOT NULL UNIQUE,
    password_hash text, -- argon2id, with its parameters and salt; NULL: no password will do
    groups        text[] COLLATE "C" NOT NULL DEFAULT '{}',
    disabled      boolean NOT NULL DEFAULT false,
    -- Counts the passwords: what was signed for an earlier one is worth nothing any more.
    generation    int NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- Of a machine (name, no user), of a user (name, user), and what a client that logged in may come back with (no name).
CREATE TABLE tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text COLLATE "C" UNIQUE,
    user_id      bigint REFERENCES users ON DELETE CASCADE,
    parent_id    bigint REFERENCES tokens ON DELETE CASCADE, -- the token a client logged in with
    secret_hash  bytea NOT NULL UNIQUE, -- SHA-256: the secret is random, and needs no slower one
    scope        jsonb, -- no more than this: [{"repo", "images", "rights"}]; NULL: no limit
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX tokens_user ON tokens (user_id);
CREATE INDEX tokens_parent ON tokens (parent_id);
CREATE INDEX tokens_expired ON tokens (expires_at);

-- Who else says who somebody is (OpenID Connect), and whom we know by what is said.
CREATE TABLE issuers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text COLLATE "C" NOT NULL UNIQUE,
    url        text COLLATE "C" NOT NULL UNIQUE,
    audience   text NOT NULL,
    jwks_url   text, -- NULL: as the issuer's own configuration says
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE identities (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text COLLATE "C" NOT NULL UNIQUE,
    issuer_id  bigint NOT NULL REFERENCES issuers ON DELETE CASCADE,
    claims     jsonb NOT NULL, -- what a token must claim, each a pattern
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX identities_issuer ON identities (issuer_id);

CREATE TABLE grants (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     bigint REFERENCES users ON DELETE CASCADE,
    token_id    bigint REFERENCES tokens ON DELETE CASCADE,
    identity_id bigint REFERENCES identities ON DELETE CASCADE,
    group_name  text COLLATE "C",
    repo_id     bigint REFERENCES repos ON DELETE CASCADE, -- NULL: all repos, also those to come
    images      text COLLATE "C" NOT NULL DEFAULT '*',
    rights      text[] NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(user_id, token_id, identity_id, group_name) = 1)
);
CREATE INDEX grants_user ON grants (user_id);
CREATE INDEX grants_token ON grants (token_id);
CREATE INDEX grants_identity ON grants (identity_id);
CREATE INDEX grants_group ON grants (group_name);
CREATE INDEX grants_repo ON grants (repo_id);

-- Ed25519 key pairs that sign our own tokens; the newest signs, all of them are believed.
CREATE TABLE signing_keys (
    id          text COLLATE "C" PRIMARY KEY,
    private_key text NOT NULL, -- PKCS #8, PEM
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Failed logins as levels of leaking buckets, by account and by address. Lost with a crash, which does no harm.
CREATE UNLOGGED TABLE login_attempts (
    key   text COLLATE "C" PRIMARY KEY,
    level double precision NOT NULL,
    at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_attempts_at ON login_attempts (at);

CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text COLLATE "C" NOT NULL, -- user:alice, token:ci, identity:build, anonymous
    credential text NOT NULL,
    address    text NOT NULL,
    request_id text NOT NULL,
    action     text COLLATE "C" NOT NULL,
    repo       text COLLATE "C",
    image      text COLLATE "C",
    tag        text COLLATE "C",
    digest     text COLLATE "C",
    detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_repo ON audit (repo, image, id);

CREATE FUNCTION access_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE access_state SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE ON identities
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE ON issuers
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE ON grants
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_changed AFTER INSERT OR DELETE ON signing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OF settings OR DELETE ON repos
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
-- A client that logs in makes a token as well, which changes nothing for anybody else; nor does last_used_at.
CREATE TRIGGER access_changed AFTER UPDATE OF scope, expires_at OR DELETE ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE TRIGGER access_added AFTER INSERT ON tokens
    FOR EACH ROW WHEN (NEW.name IS NOT NULL) EXECUTE FUNCTION access_changed();
