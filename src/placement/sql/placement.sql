-- Changing the placement. Every function is called on each unit by the compute node, as the client's own role and inside its
-- transaction; what that role may not do itself (decan.*, schema decan_shard) is done here after its rights were checked.

-- One change at a time in a database: taken on the home unit before anything is looked at. Readers of decan.map do not wait.
-- Gives a new id, for a table and its group.
DROP FUNCTION IF EXISTS decan.lock_placement();
CREATE OR REPLACE FUNCTION decan.lock_placement(proof text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_proof('lock/' || decan.transaction_token(), proof);
  PERFORM FROM decan.map FOR UPDATE;
  RETURN nextval('decan.id_seq');
END $$;

-- What a proof has to name: this transaction of this server process, so that it is of no use anywhere else.
CREATE OR REPLACE FUNCTION decan.transaction_token() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_backend_pid() || '/' || extract(epoch FROM transaction_timestamp())
$$;

-- And of a change: the epoch that it leaves behind.
CREATE OR REPLACE FUNCTION decan.change_token() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT decan.transaction_token() || '/' || m.epoch FROM decan.map m
$$;

-- Opens a change: raises the epoch (to `epoch` when given) and lets the guards pass for this transaction.
DROP FUNCTION IF EXISTS decan.begin_change(int, int, bigint);
CREATE OR REPLACE FUNCTION decan.begin_change(unit int, unit_count int, epoch bigint, proof text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_at bigint;
BEGIN
  PERFORM decan.check_proof('change/' || decan.change_token(), proof);
  IF unit < 0 OR unit_count < 1 OR unit >= 32767 THEN
    RAISE invalid_parameter_value USING MESSAGE = format('unit %s of %s is out of range', unit, unit_count);
  END IF;
  INSERT INTO decan.change(xid) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
  UPDATE decan.map m SET epoch = greatest(m.epoch + 1, begin_change.epoch), unit = begin_change.unit, unit_count = begin_change.unit_count
    RETURNING m.epoch INTO now_at;
  RETURN now_at;
END $$;

CREATE OR REPLACE FUNCTION decan.in_change() RETURNS bool
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM decan.change c WHERE c.xid = pg_current_xact_id_if_assigned())
$$;

CREATE OR REPLACE FUNCTION decan.check_change() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT decan.in_change() THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = 'no change of the placement is open in this transaction';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION decan.set_epoch(epoch bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_change();
  UPDATE decan.map m SET epoch = greatest(m.epoch, set_epoch.epoch);
END $$;

CREATE OR REPLACE FUNCTION decan.end_change() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM decan.change c WHERE c.xid = pg_current_xact_id()
$$;

-- Runs statements with the caller's own rights and a search_path that makes every name mean the same on every unit.
CREATE OR REPLACE FUNCTION decan.run(statements text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET check_function_bodies = off SET default_tablespace = ''
SET default_table_access_method = heap AS $$
DECLARE
  statement text;
BEGIN
  FOREACH statement IN ARRAY statements LOOP
    EXECUTE statement;
  END LOOP;
END $$;

-- Everything the compute node has to know before it places a table.
DROP FUNCTION IF EXISTS decan.describe(regclass);
CREATE FUNCTION decan.describe(rel regclass, OUT owner name, OUT qualified_name text, OUT column_list text,
                               OUT forces_row_security bool, OUT kind "char", OUT far_unit int)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  SELECT pg_get_userbyid(c.relowner), rel::text, c.relforcerowsecurity, c.relkind, (SELECT a.unit FROM decan.attached a WHERE a.relid = rel)
    INTO owner, qualified_name, forces_row_security, kind, far_unit
    FROM pg_class c WHERE c.oid = rel;
  column_list := (SELECT coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), '')
                    FROM pg_attribute a
                   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '');
END $$;

DROP FUNCTION IF EXISTS decan.take_id();

-- Texts of key values in one spelling that no setting changes, and in the type's binary format.
CREATE OR REPLACE FUNCTION decan.canonical(types oid[], given text[]) RETURNS TABLE(n bigint, spelled text, bin bytea)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD'
SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
  i int;
BEGIN
  FOR i IN 1 .. cardinality(given) LOOP
    n := i;
    EXECUTE format('SELECT %1$L::%2$s::text, %3$s(%1$L::%2$s)', given[i], format_type(types[i], NULL),
                   (SELECT typsend::text FROM pg_type WHERE oid = types[i])) INTO spelled, bin;
    RETURN NEXT;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION decan.create_group(id int, algorithm text, key_types oid[], implicit bool, buckets jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_change();
  INSERT INTO decan.shard_group VALUES (id, algorithm, key_types, implicit);
  INSERT INTO decan.bucket(group_id, bucket, unit, modulus, remainder, lower_text, lower_bin, upper_text, upper_bin,
                           list_text, list_bin, accepts_null, is_default)
  SELECT create_group.id, b.bucket, b.unit, b.modulus, b.remainder,
         b.lower_text, ARRAY(SELECT decode(x, 'hex') FROM unnest(b.lower_hex) x),
         b.upper_text, ARRAY(SELECT decode(x, 'hex') FROM unnest(b.upper_hex) x),
         b.list_text, ARRAY(SELECT decode(x, 'hex') FROM unnest(b.list_hex) x),
         coalesce(b.accepts_null, false), coalesce(b.is_default, false)
  FROM jsonb_to_recordset(buckets) b(bucket int, unit int, modulus int, remainder int, lower_text text[], lower_hex text[],
                                     upper_text text[], upper_hex text[], list_text text[], list_hex text[],
                                     accepts_null bool, is_default bool);
END $$;

CREATE OR REPLACE FUNCTION decan.register(rel regclass, id int, placement text, group_id int, leaf_prefix text, storage text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  DELETE FROM decan.relation r WHERE r.relid = rel;
  INSERT INTO decan.relation(relid, id, placement, group_id, leaf_prefix, storage_options)
  VALUES (rel, register.id, register.placement, register.group_id, register.leaf_prefix, storage);
END $$;

CREATE OR REPLACE FUNCTION decan.drop_unused_groups() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM decan.shard_group g WHERE NOT EXISTS (SELECT FROM decan.relation r WHERE r.group_id = g.id)
$$;

CREATE OR REPLACE FUNCTION decan.forget(rel regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  DELETE FROM decan.relation r WHERE r.relid = rel;
  PERFORM decan.drop_unused_groups();
END $$;

-- FOR VALUES … of a bucket.
CREATE OR REPLACE FUNCTION decan.bucket_bound(b decan.bucket, algorithm text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN b.is_default THEN 'DEFAULT'
    WHEN algorithm = 'hash' THEN format('FOR VALUES WITH (MODULUS %s, REMAINDER %s)', b.modulus, b.remainder)
    WHEN algorithm = 'range' THEN format('FOR VALUES FROM (%s) TO (%s)',
      (SELECT string_agg(coalesce(quote_literal(v), 'MINVALUE'), ', ' ORDER BY n) FROM unnest(b.lower_text) WITH ORDINALITY u(v, n)),
      (SELECT string_agg(coalesce(quote_literal(v), 'MAXVALUE'), ', ' ORDER BY n) FROM unnest(b.upper_text) WITH ORDINALITY u(v, n)))
    ELSE format('FOR VALUES IN (%s)', concat_ws(', ',
      (SELECT string_agg(quote_literal(v), ', ') FROM unnest(b.list_text) v), CASE WHEN b.accepts_null THEN 'NULL' END)) END
$$;

-- Makes the leaves of a registered table: those of one unit, or all of them.
CREATE OR REPLACE FUNCTION decan.create_leaves(rel regclass, only_unit int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET default_tablespace = ''
SET default_table_access_method = heap SET timezone = 'UTC' SET datestyle = 'ISO, YMD' AS $$
DECLARE
  b record;
  owner text := (SELECT quote_ident(pg_get_userbyid(c.relowner)) FROM pg_class c WHERE c.oid = rel);
  unlogged text := (SELECT CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END FROM pg_class c WHERE c.oid = rel);
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  FOR b IN SELECT format('%s_%s', r.leaf_prefix, k.bucket) AS leaf, decan.bucket_bound(k, g.algorithm) AS bound,
                  decan.with_clause(r.storage_options) AS options
             FROM decan.relation r JOIN decan.shard_group g ON g.id = r.group_id JOIN decan.bucket k ON k.group_id = g.id
            WHERE r.relid = rel AND (only_unit IS NULL OR k.unit = only_unit) ORDER BY k.bucket LOOP
    EXECUTE format('CREATE %sTABLE decan_shard.%I PARTITION OF %s %s%s', unlogged, b.leaf, rel, b.bound, b.options);
    EXECUTE format('ALTER TABLE decan_shard.%I OWNER TO %s', b.leaf, owner);
  END LOOP;
END $$;

-- Drops the leaves that belong to other units.
CREATE OR REPLACE FUNCTION decan.drop_foreign_leaves(rel regclass, own_unit int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  leaf text;
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  FOR leaf IN SELECT c.relname FROM decan.relation r JOIN decan.bucket k USING (group_id)
                JOIN pg_inherits i ON i.inhparent = r.relid
                JOIN pg_class c ON c.oid = i.inhrelid AND c.relname = format('%s_%s', r.leaf_prefix, k.bucket)
               WHERE r.relid = rel AND k.unit <> own_unit LOOP
    EXECUTE format('DROP TABLE decan_shard.%I', leaf);
  END LOOP;
END $$;

-- Moves a table out of the way, to be read and dropped by the same transaction. Its owner can read all of it afterwards.
CREATE OR REPLACE FUNCTION decan.set_aside(rel regclass, new_name name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item record;
  old_name text := rel::text;
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  FOR item IN SELECT format('DROP STATISTICS %I.%I', n.nspname, s.stxname) AS sql
                FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = rel
              UNION ALL
              SELECT format('ALTER SEQUENCE %s OWNED BY NONE', s.seqid::regclass) FROM decan.column_sequences(rel) s WHERE s.kind = 'o'
              UNION ALL
              SELECT format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', rel)
              UNION ALL
              SELECT format('GRANT ALL ON TABLE %s TO %I', rel, pg_get_userbyid(c.relowner)) FROM pg_class c WHERE c.oid = rel LOOP
    EXECUTE item.sql;
  END LOOP;
  EXECUTE format('ALTER TABLE %s RENAME TO %I', old_name, new_name);
  EXECUTE format('ALTER TABLE %s SET SCHEMA decan_shard', rel::text);
END $$;

-- The next value of each sequence of a table, and whether it ever gave one.
CREATE OR REPLACE FUNCTION decan.sequence_state(rel regclass) RETURNS TABLE(col name, next_value numeric, called bool)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s record;
BEGIN
  PERFORM decan.check_owner(rel);
  FOR s IN SELECT c.attname, c.seqid, q.seqincrement FROM decan.column_sequences(rel) c JOIN pg_sequence q ON q.seqrelid = c.seqid LOOP
    EXECUTE format('SELECT %L, last_value::numeric + CASE WHEN is_called THEN %s ELSE 0 END, is_called FROM %s',
                   s.attname, s.seqincrement, s.seqid::regclass) INTO col, next_value, called;
    RETURN NEXT;
  END LOOP;
END $$;

-- Gives the sequences of a sharded table the range of this unit: [unit * 2^48 + 1, (unit + 1) * 2^48). Unit 0 goes on from `present`
-- ({"column": next value}). With one unit the sequences keep their options and only go on.
CREATE OR REPLACE FUNCTION decan.assign_sequences(rel regclass, unit int, unit_count int, present jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s record;
  low bigint := unit * 281474976710656 + 1;
  high bigint := (unit + 1) * 281474976710656 - 1;
  first numeric;
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  FOR s IN SELECT c.attname, c.seqid, q.* FROM decan.column_sequences(rel) c JOIN pg_sequence q ON q.seqrelid = c.seqid LOOP
    PERFORM decan.check_owner(s.seqid);
    first := (present ->> s.attname)::numeric;
    IF unit_count < 2 THEN
      IF first BETWEEN s.seqmin AND s.seqmax THEN
        EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', s.seqid::regclass, first);
      END IF;
      CONTINUE;
    END IF;
    first := CASE unit WHEN 0 THEN greatest(coalesce(first, low), low) ELSE low END;
    IF first > high THEN
      PERFORM decan.refuse(format('the sequence of column "%s" of table %s has passed %s', s.attname, rel, high),
        'Values from there on belong to the next unit.');
    END IF;
    INSERT INTO decan.sequence VALUES (s.seqid, rel, s.seqtypid, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
    ON CONFLICT (seqid) DO UPDATE SET relid = excluded.relid;
    EXECUTE format('ALTER SEQUENCE %s AS bigint MINVALUE %s MAXVALUE %s START %s RESTART %s NO CYCLE',
                   s.seqid::regclass, low, high, first, first);
  END LOOP;
END $$;

-- The opposite: sequences as they were, going on from the given values.
CREATE OR REPLACE FUNCTION decan.restore_sequences(rel regclass, next_values jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s record;
BEGIN
  PERFORM decan.check_change();
  PERFORM decan.check_owner(rel);
  FOR s IN SELECT c.attname, c.seqid, coalesce(o.type, q.seqtypid) AS type, o.seqid AS saved, coalesce(o.max, q.seqmax) AS max
             FROM decan.column_sequences(rel) c JOIN pg_sequence q ON q.seqrelid = c.seqid
             LEFT JOIN decan.sequence o ON o.seqid = c.seqid LOOP
    PERFORM decan.check_owner(s.seqid);
    IF s.saved IS NOT NULL THEN
      EXECUTE format('ALTER SEQUENCE %s AS %s %s', s.seqid::regclass, format_type(s.type, NULL),
                     decan.sequence_options(s.seqid) || format(' RESTART WITH %s', least((next_values ->> s.attname)::numeric, s.max)));
      DELETE FROM decan.sequence o WHERE o.seqid = s.seqid;
    ELSIF next_values ? s.attname THEN
      EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', s.seqid::regclass, least((next_values ->> s.attname)::numeric, s.max));
    END IF;
    DELETE FROM decan.attached a WHERE a.relid = s.seqid;
  END LOOP;
END $$;
