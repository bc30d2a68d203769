-- Storage units that come and go. Run by compute nodes as the unit's service user, a superuser: nothing here is for client roles but
-- hold_units().

-- DDL that runs on all units holds this lock until its transaction ends; whoever changes the set of units takes it alone.
CREATE TABLE IF NOT EXISTS decan.unit_change ();
REVOKE ALL ON decan.unit_change FROM PUBLIC;
CREATE OR REPLACE FUNCTION decan.hold_units() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE decan.unit_change IN ROW SHARE MODE;
END $$;

-- What the server had before it became a storage unit: never dropped by Decan.
CREATE TABLE IF NOT EXISTS decan.kept (class oid, id oid, PRIMARY KEY (class, id));
REVOKE ALL ON decan.kept FROM PUBLIC;

-- What users made in this database, each with a name that means the same on every unit. Parts of others (members of extensions,
-- sequences of identity columns, row types, partitions' indexes) are not listed. kind: word of DROP; relations share one name space.
CREATE OR REPLACE FUNCTION decan.objects() RETURNS TABLE(class oid, id oid, kind text, identity text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.class, o.id, CASE i.type WHEN 'foreign-data wrapper' THEN 'foreign data wrapper' ELSE i.type END, i.identity
    FROM (SELECT 'pg_class'::regclass, c.oid, c.relnamespace FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
          UNION ALL
          SELECT 'pg_type'::regclass, t.oid, t.typnamespace FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
           WHERE coalesce(c.relkind = 'c', true) AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
          UNION ALL
          SELECT 'pg_namespace'::regclass, n.oid, n.oid FROM pg_namespace n
          UNION ALL
          SELECT 'pg_proc'::regclass, p.oid, p.pronamespace FROM pg_proc p
          UNION ALL
          SELECT 'pg_operator'::regclass, p.oid, p.oprnamespace FROM pg_operator p
          UNION ALL
          SELECT 'pg_opclass'::regclass, p.oid, p.opcnamespace FROM pg_opclass p
          UNION ALL
          SELECT 'pg_opfamily'::regclass, p.oid, p.opfnamespace FROM pg_opfamily p
          UNION ALL
          SELECT 'pg_collation'::regclass, p.oid, p.collnamespace FROM pg_collation p
          UNION ALL
          SELECT 'pg_conversion'::regclass, p.oid, p.connamespace FROM pg_conversion p
          UNION ALL
          SELECT 'pg_ts_parser'::regclass, p.oid, p.prsnamespace FROM pg_ts_parser p
          UNION ALL
          SELECT 'pg_ts_template'::regclass, p.oid, p.tmplnamespace FROM pg_ts_template p
          UNION ALL
          SELECT 'pg_ts_dict'::regclass, p.oid, p.dictnamespace FROM pg_ts_dict p
          UNION ALL
          SELECT 'pg_ts_config'::regclass, p.oid, p.cfgnamespace FROM pg_ts_config p
          UNION ALL
          SELECT 'pg_cast'::regclass, p.oid, 0 FROM pg_cast p
          UNION ALL
          SELECT 'pg_transform'::regclass, p.oid, 0 FROM pg_transform p
          UNION ALL
          SELECT 'pg_am'::regclass, p.oid, 0 FROM pg_am p
          UNION ALL
          SELECT 'pg_language'::regclass, p.oid, 0 FROM pg_language p
          UNION ALL
          SELECT 'pg_extension'::regclass, p.oid, 0 FROM pg_extension p
          UNION ALL
          SELECT 'pg_foreign_data_wrapper'::regclass, p.oid, 0 FROM pg_foreign_data_wrapper p
          UNION ALL
          SELECT 'pg_foreign_server'::regclass, p.oid, 0 FROM pg_foreign_server p
          UNION ALL
          SELECT 'pg_event_trigger'::regclass, p.oid, 0 FROM pg_event_trigger p WHERE p.evtname NOT IN ('decan_ddl_end', 'decan_drop')
         ) o(class, id, schema)
    LEFT JOIN pg_namespace n ON n.oid = o.schema
   CROSS JOIN LATERAL pg_identify_object(o.class, o.id, 0) i
   WHERE o.id >= 16384 AND coalesce(n.nspname NOT IN ('decan', 'decan_shard', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_', true)
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.id AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
$$;

-- On the home unit: everything that lives on another one. Attached relations, their indexes and sequences, and views that read one.
CREATE OR REPLACE FUNCTION decan.elsewhere() RETURNS TABLE(relid oid, unit int)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM decan.attached) THEN RETURN; END IF;
  RETURN QUERY
  WITH RECURSIVE far(relid, unit) AS (
    SELECT a.relid, a.unit FROM decan.attached a
    UNION
    SELECT v.oid, f.unit
      FROM far f JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = f.relid AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
  )
  SELECT f.relid, f.unit FROM far f
  UNION
  SELECT i.indexrelid, f.unit FROM far f JOIN pg_index i ON i.indrelid = f.relid
  UNION
  SELECT c.oid, f.unit
    FROM far f JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = f.relid AND d.classid = 'pg_class'::regclass
    JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
   WHERE d.deptype IN ('a', 'i');
END $$;

-- What is on one unit only: the relations `seeds`, functions that name one of them, and whatever depends on either. Functions that
-- placed tables call are on every unit. name: of relations, as pg_dump reads patterns.
CREATE OR REPLACE FUNCTION decan.left_out(seeds oid[]) RETURNS TABLE(class oid, id oid, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE called(id) AS (
    SELECT d.refobjid
      FROM (SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef
            UNION ALL SELECT 'pg_constraint'::regclass, oid, conrelid FROM pg_constraint
            UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy) o(class, oid, relid)
      JOIN decan.relation r ON r.relid = o.relid
      JOIN pg_depend d ON d.classid = o.class AND d.objid = o.oid AND d.refclassid = 'pg_proc'::regclass
  ), naming(id) AS (
    SELECT DISTINCT p.oid
      FROM pg_proc p, regexp_matches(p.prosrc, '[[:alnum:]_$]+', 'g') word, pg_class c
     WHERE p.oid >= 16384 AND c.oid = ANY (seeds) AND c.relname IN (word[1], lower(word[1])) AND p.oid NOT IN (SELECT k.id FROM called k)
  ), lonely(class, id) AS (
    SELECT * FROM (SELECT 'pg_class'::regclass::oid, unnest(seeds) UNION ALL SELECT 'pg_proc'::regclass, n.id FROM naming n) s
    UNION
    SELECT x.class, x.id
      FROM lonely l JOIN pg_depend d ON d.refclassid = l.class AND d.refobjid = l.id
      CROSS JOIN LATERAL (SELECT d.classid, d.objid
                          UNION ALL
                          SELECT 'pg_class'::regclass, r.ev_class FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid)
                 x(class, id)
     WHERE NOT (x.class = 'pg_class'::regclass AND EXISTS (SELECT FROM decan.relation r WHERE r.relid = x.id))
       AND NOT (x.class = 'pg_proc'::regclass AND x.id IN (SELECT k.id FROM called k))
  )
  SELECT l.class, l.id, (SELECT format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""'))
                           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE l.class = 'pg_class'::regclass AND c.oid = l.id AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f'))
    FROM lonely l
$$;

-- Statements that tell another unit how the tables are placed, for when they exist there.
CREATE OR REPLACE FUNCTION decan.placement_statements() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('INSERT INTO decan.shard_group VALUES (%L, %L, %L, %L)', g.id, g.algorithm, g.key_types, g.implicit) FROM decan.shard_group g
  UNION ALL
  SELECT format('INSERT INTO decan.bucket SELECT (%L::decan.bucket).*', b::text) FROM decan.bucket b
  UNION ALL
  SELECT format('INSERT INTO decan.relation VALUES (%L::pg_catalog.regclass, %L, %L, %L, %L, %L)', r.relid::regclass, r.id, r.placement,
                r.group_id, r.leaf_prefix, r.storage_options)
    FROM decan.relation r
  UNION ALL
  SELECT format('INSERT INTO decan.sequence VALUES (%L::pg_catalog.regclass, %L::pg_catalog.regclass, %s, %s, %s, %s, %s, %s, %L)',
                s.seqid::regclass, s.relid::regclass, s.type, s.start, s.increment, s.min, s.max, s.cache, s.cycle)
    FROM decan.sequence s
$$;

-- Broadcast tables, as COPY and LOCK TABLE name them.
CREATE OR REPLACE FUNCTION decan.broadcast_tables() RETURNS TABLE(relation text, columns text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.relid::regclass::text, d.column_list FROM decan.relation r, decan.describe(r.relid) d WHERE r.placement = 'broadcast' ORDER BY r.relid
$$;

-- Lets the guards pass for this transaction, which makes a unit of this server or takes it out.
CREATE OR REPLACE FUNCTION decan.begin_unit_change() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO decan.change(xid) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING
$$;

-- On the unit that joins, when its tables are there.
CREATE OR REPLACE FUNCTION decan.join_as(unit int, unit_count int, epoch bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE decan.map m SET unit = join_as.unit, unit_count = join_as.unit_count, epoch = join_as.epoch;
  PERFORM decan.assign_sequences(r.relid, join_as.unit, join_as.unit_count, '{}') FROM decan.relation r WHERE r.placement = 'sharded';
END $$;

-- On the home unit. A cluster of one unit numbers rows without ranges, which the second unit needs.
CREATE OR REPLACE FUNCTION decan.grow(unit_count int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m decan.map;
  r record;
BEGIN
  SELECT * INTO m FROM decan.map;
  IF m.unit_count < 2 AND unit_count >= 2 THEN
    PERFORM decan.begin_unit_change();
    FOR r IN SELECT s.relid FROM decan.relation s WHERE s.placement = 'sharded' LOOP
      PERFORM decan.check_sequences(r.relid, unit_count);
      PERFORM decan.assign_sequences(r.relid, m.unit, unit_count,
        (SELECT coalesce(jsonb_object_agg(q.col, q.next_value), '{}') FROM decan.sequence_state(r.relid) q));
    END LOOP;
    PERFORM decan.end_change();
  END IF;
  UPDATE decan.map SET unit_count = grow.unit_count;
END $$;

-- Takes away what the unit holds because it is one: placed tables, whose rows are elsewhere, and objects that are on the home unit too
-- (`on_home`: kind and identity). What the server had before stays, and what other objects depend on; that is told.
CREATE OR REPLACE FUNCTION decan.leave(on_home text[]) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item record;
  progress bool := true;
BEGIN
  IF EXISTS (SELECT FROM decan.relation r JOIN pg_inherits i ON i.inhparent = r.relid WHERE r.placement = 'sharded') THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = format('database "%s" holds shards', current_database());
  END IF;
  PERFORM decan.begin_unit_change();
  CREATE TEMPORARY TABLE decan_leaving ON COMMIT DROP AS
    SELECT o.class, o.id, o.kind, o.identity FROM decan.objects() o
     WHERE NOT EXISTS (SELECT FROM decan.kept k WHERE k.class = o.class AND k.id = o.id)
       AND (o.class = 'pg_class'::regclass AND EXISTS (SELECT FROM decan.relation r WHERE r.relid = o.id)
            OR o.kind NOT IN ('table', 'materialized view', 'foreign table') AND o.kind || ' ' || o.identity = ANY (on_home));
  FOR item IN SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname) AS sql
                FROM pg_constraint k JOIN decan.relation r ON r.relid = k.conrelid WHERE k.contype = 'f' AND k.conparentid = 0 LOOP
    EXECUTE item.sql;
  END LOOP;
  WHILE progress LOOP
    progress := false;
    FOR item IN SELECT * FROM decan_leaving LOOP
      BEGIN
        EXECUTE format('DROP %s IF EXISTS %s', item.kind, item.identity);
        DELETE FROM decan_leaving l WHERE l.class = item.class AND l.id = item.id;
        progress := true;
      EXCEPTION WHEN dependent_objects_still_exist THEN NULL;
      END;
    END LOOP;
  END LOOP;
  RETURN QUERY SELECT l.kind || ' ' || l.identity FROM decan_leaving l ORDER BY 1;
END $$;
REVOKE ALL ON FUNCTION decan.objects(), decan.left_out(oid[]), decan.placement_statements(), decan.broadcast_tables(), decan.begin_unit_change(),
  decan.join_as(int, int, bigint), decan.grow(int), decan.leave(text[]) FROM PUBLIC;

-- On the unit: objects that a superuser of the server owns would be out of every client's reach.
CREATE OR REPLACE FUNCTION decan.hand_over(objects text[], owner name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  PERFORM decan.begin_unit_change();
  FOR o IN SELECT b.kind, b.identity FROM decan.objects() b
            WHERE b.kind || ' ' || b.identity = ANY (objects)
              AND b.kind IN ('schema', 'table', 'view', 'materialized view', 'foreign table', 'sequence', 'type', 'function', 'procedure', 'aggregate')
              AND (SELECT a.rolsuper FROM pg_authid a
                    WHERE a.oid = coalesce((SELECT s.refobjid FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
                                             WHERE d.datname = current_database() AND s.classid = b.class AND s.objid = b.id
                                               AND s.objsubid = 0 AND s.deptype = 'o'), 10))
              AND NOT EXISTS (SELECT FROM pg_depend p WHERE p.classid = b.class AND p.objid = b.id AND p.deptype = 'a'
                                 AND p.refclassid = 'pg_class'::regclass AND b.kind = 'sequence') LOOP
    EXECUTE format('ALTER %s %s OWNER TO %I', o.kind, o.identity, owner);
  END LOOP;
  PERFORM decan.end_change();
END $$;

-- On the home unit, where the definitions have been made: their rows are on that unit. Sequences are at their end here, so that a call
-- which comes to the wrong place fails. Gives the number of tables.
CREATE OR REPLACE FUNCTION decan.attach(objects text[], unit int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tables bigint;
BEGIN
  WITH made AS (
    INSERT INTO decan.attached
    SELECT o.id, attach.unit FROM decan.objects() o
     WHERE o.kind || ' ' || o.identity = ANY (objects) AND o.kind IN ('table', 'materialized view', 'foreign table', 'sequence')
    RETURNING relid
  )
  SELECT count(*) INTO tables FROM made JOIN pg_class c ON c.oid = made.relid AND c.relkind <> 'S';
  PERFORM setval(s.seqrelid, CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE s.seqmin END)
     FROM pg_sequence s
    WHERE EXISTS (SELECT FROM decan.attached a WHERE a.relid = s.seqrelid)
       OR EXISTS (SELECT FROM decan.attached a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.relid
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i'));
  RETURN tables;
END $$;

-- On the home unit: the definitions of what lives on a unit that leaves, and what depends on them.
CREATE OR REPLACE FUNCTION decan.detach(unit int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  t record;
BEGIN
  PERFORM decan.begin_unit_change();
  FOR t IN SELECT o.kind, o.identity FROM decan.objects() o JOIN decan.attached a ON o.class = 'pg_class'::regclass AND a.relid = o.id
            WHERE a.unit = detach.unit LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', t.kind, t.identity);
  END LOOP;
  PERFORM decan.end_change();
END $$;
REVOKE ALL ON FUNCTION decan.hand_over(text[], name), decan.attach(text[], int), decan.detach(int) FROM PUBLIC;
