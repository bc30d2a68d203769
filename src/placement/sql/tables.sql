-- What Decan keeps inside every logical database of every storage unit. Run by a superuser; may be run again at any time.
-- Everything a client role may call is SECURITY DEFINER with a fixed search_path and checks the caller's rights itself.
SELECT pg_catalog.set_config('client_min_messages', 'warning', true);
CREATE SCHEMA IF NOT EXISTS decan;
CREATE SCHEMA IF NOT EXISTS decan_shard;
GRANT USAGE ON SCHEMA decan, decan_shard TO PUBLIC;
-- Owners of functions may say that their dynamic SQL stays away from sharded tables (ALTER FUNCTION … SET decan.dynamic_sql = 'local').
-- The right is the server's: only one transaction can give it at a time.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_parameter_acl WHERE parname = 'decan.dynamic_sql') THEN
    GRANT SET ON PARAMETER decan.dynamic_sql TO PUBLIC;
  END IF;
END $$;
-- An index on a partitioned table makes indexes on its leaves with the rights of whoever makes it. What else could be created in
-- decan_shard is refused by the event trigger (guard.sql).
GRANT CREATE ON SCHEMA decan_shard TO PUBLIC;

CREATE TABLE IF NOT EXISTS decan.version (version int NOT NULL);
INSERT INTO decan.version SELECT 1 WHERE NOT EXISTS (SELECT FROM decan.version);

-- One row. epoch: version of the placement, compared by every statement that spans buckets. unit: this server's own id.
CREATE TABLE IF NOT EXISTS decan.map (
  one bool PRIMARY KEY DEFAULT true CHECK (one),
  epoch bigint NOT NULL DEFAULT 1,
  unit int NOT NULL DEFAULT 0,
  unit_count int NOT NULL DEFAULT 1
);
INSERT INTO decan.map DEFAULT VALUES ON CONFLICT DO NOTHING;

-- The decisions of distributed transactions; a tombstone says that the transaction was rolled back for good.
CREATE TABLE IF NOT EXISTS decan.dist_commit (
  gid text PRIMARY KEY,
  participants int[] NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  tombstone bool NOT NULL DEFAULT false
);

-- One row. The cluster's secret, as the blocks that HMAC-SHA-256 puts in front of its two hashes. For check_proof() only.
CREATE TABLE IF NOT EXISTS decan.secret (
  one bool PRIMARY KEY DEFAULT true CHECK (one),
  inner_block bytea NOT NULL,
  outer_block bytea NOT NULL
);

CREATE SEQUENCE IF NOT EXISTS decan.id_seq;  -- ids of groups and tables, taken on the home unit

CREATE TABLE IF NOT EXISTS decan.shard_group (
  id int PRIMARY KEY,
  algorithm text NOT NULL CHECK (algorithm IN ('hash', 'range', 'list')),
  key_types oid[] NOT NULL,
  implicit bool NOT NULL DEFAULT false  -- may be joined by tables that name no table to be co-located with
);

-- Bounds are kept as text (for DDL) and in the type's binary format (for routing); NULL = MINVALUE or MAXVALUE.
CREATE TABLE IF NOT EXISTS decan.bucket (
  group_id int REFERENCES decan.shard_group ON DELETE CASCADE,
  bucket int,
  unit int NOT NULL,
  modulus int, remainder int,
  lower_text text[], lower_bin bytea[],
  upper_text text[], upper_bin bytea[],
  list_text text[], list_bin bytea[],
  accepts_null bool NOT NULL DEFAULT false,
  is_default bool NOT NULL DEFAULT false,
  PRIMARY KEY (group_id, bucket)
);

-- Placed tables by their oid on this unit, so that RENAME and SET SCHEMA need no care. A leaf is called <leaf_prefix>_<bucket>.
CREATE TABLE IF NOT EXISTS decan.relation (
  relid oid PRIMARY KEY,
  id int NOT NULL UNIQUE,
  placement text NOT NULL CHECK (placement IN ('sharded', 'broadcast')),
  group_id int REFERENCES decan.shard_group,
  leaf_prefix text UNIQUE,
  storage_options text[],    -- WITH (…) of the table, which a partitioned parent can not hold
  CHECK ((placement = 'sharded') = (group_id IS NOT NULL AND leaf_prefix IS NOT NULL))
);

-- On the home unit: tables, materialized views, foreign tables and sequences that live on another unit. Home has their definition, and
-- no rows. All other tables that nobody placed live on home.
CREATE TABLE IF NOT EXISTS decan.attached (
  relid oid PRIMARY KEY,
  unit int NOT NULL
);

-- What a sequence of a sharded table was before it was given a range of its own on every unit.
CREATE TABLE IF NOT EXISTS decan.sequence (
  seqid oid PRIMARY KEY,
  relid oid NOT NULL,
  type oid NOT NULL,
  start bigint NOT NULL, increment bigint NOT NULL, min bigint NOT NULL, max bigint NOT NULL,
  cache bigint NOT NULL, cycle bool NOT NULL
);

-- A row per transaction that is changing the placement: the guards let it pass. Written by decan.begin_change() only.
CREATE TABLE IF NOT EXISTS decan.change (xid xid8 PRIMARY KEY);

REVOKE ALL ON ALL TABLES IN SCHEMA decan FROM PUBLIC;
GRANT SELECT ON decan.version, decan.map, decan.shard_group, decan.bucket, decan.relation, decan.sequence, decan.attached TO PUBLIC;

-- The role whose rights count: SET ROLE's when there is one. Inside SECURITY DEFINER functions current_user is their owner.
CREATE OR REPLACE FUNCTION decan.caller() RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN current_setting('role') = 'none' THEN session_user ELSE current_setting('role')::name END
$$;

CREATE OR REPLACE FUNCTION decan.check_owner(rel oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  owner oid := (SELECT relowner FROM pg_class WHERE oid = rel);
BEGIN
  IF owner IS NULL THEN
    RAISE undefined_table USING MESSAGE = format('relation with OID %s does not exist', rel);
  END IF;
  IF NOT pg_has_role(decan.caller(), owner, 'USAGE') THEN
    RAISE insufficient_privilege USING MESSAGE = format('must be owner of table %s', rel::regclass);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION decan.refuse(message text, hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE feature_not_supported USING MESSAGE = message, HINT = hint;
END $$;

-- Refuses what a compute node has not vouched for: whoever may log in to a unit may call what follows. Used inside
-- SECURITY DEFINER functions, since nobody else can read the secret.
CREATE OR REPLACE FUNCTION decan.check_proof(message text, proof text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s decan.secret;
BEGIN
  SELECT * INTO s FROM decan.secret;
  IF proof IS DISTINCT FROM encode(sha256(s.outer_block || sha256(s.inner_block || convert_to(message, 'UTF8'))), 'hex') THEN
    RAISE insufficient_privilege USING MESSAGE = 'only a compute node of Decan may do this';
  END IF;
END $$;
REVOKE ALL ON FUNCTION decan.check_proof(text, text) FROM PUBLIC;

-- Distributed transactions. A writer records the gid in the transaction itself; the row of the anchor is the decision. The
-- proof holds for this server process and this gid, which can be inserted once.
DROP FUNCTION IF EXISTS decan.mark(text, int[]);
CREATE OR REPLACE FUNCTION decan.mark(gid text, participants int[], proof text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_proof(format('mark/%s/%s/%s', pg_backend_pid(), gid, participants), proof);
  IF gid NOT LIKE 'decan\_%' OR length(gid) > 190 OR cardinality(participants) > 1000 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'not an id of a distributed transaction';
  END IF;
  INSERT INTO decan.dist_commit(gid, participants) VALUES (mark.gid, mark.participants);
END $$;

-- Whether a distributed transaction was committed, asked at its anchor. Where it was not, a tombstone makes that final: it waits
-- for a commit that is under way, and a late one fails on the primary key.
CREATE OR REPLACE FUNCTION decan.settle(gid text) RETURNS bool
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO decan.dist_commit(gid, participants, tombstone) VALUES (settle.gid, '{}', true) ON CONFLICT DO NOTHING;
  RETURN (SELECT NOT d.tombstone FROM decan.dist_commit d WHERE d.gid = settle.gid);
END $$;
REVOKE ALL ON FUNCTION decan.settle(text) FROM PUBLIC;
