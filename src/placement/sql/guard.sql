-- Event triggers that keep leaves in step with their parents after any DDL, and refuse DDL that would break the placement.

-- Name of a leaf's index, from which the parent's index can be told: <leaf>_<first 8 hex digits of md5(parent's index name)>.
CREATE OR REPLACE FUNCTION decan.leaf_index_name(leaf name, parent_index name) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT leaf || '_' || substr(md5(parent_index), 1, 8) $$;

-- Owner and privileges of the leaves as the parent's. With row security on the parent nobody but the owner may touch a leaf: the
-- policies do not hold there. Leaves that are right already cost one comparison.
CREATE OR REPLACE FUNCTION decan.sync_privileges(rel regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item record;
BEGIN
  FOR item IN SELECT l.oid::regclass AS leaf, p.relowner
                FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
               WHERE i.inhparent = rel AND l.relowner <> p.relowner LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO %I', item.leaf, pg_get_userbyid(item.relowner));
  END LOOP;
  PERFORM decan.set_acl(l.oid, w.acl)
     FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent,
          LATERAL (SELECT CASE WHEN p.relrowsecurity THEN NULL ELSE p.relacl END) w(acl)
    WHERE i.inhparent = rel AND l.relacl IS DISTINCT FROM w.acl;
  PERFORM decan.set_column_acl(l.attrelid, l.attname, w.acl)
     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
     JOIN pg_attribute p ON p.attrelid = c.oid AND p.attnum > 0 AND NOT p.attisdropped
     JOIN pg_attribute l ON l.attrelid = i.inhrelid AND l.attname = p.attname,
          LATERAL (SELECT CASE WHEN c.relrowsecurity THEN NULL ELSE p.attacl END) w(acl)
    WHERE i.inhparent = rel AND l.attacl IS DISTINCT FROM w.acl;
END $$;

-- Whatever else leaves do not take over by themselves: column options, index names, replica identity.
CREATE OR REPLACE FUNCTION decan.leaf_statements(rel regclass) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', l.attrelid::regclass, p.attname, array_to_string(decan.column_options(p.attoptions), ', '))
    FROM pg_inherits i JOIN pg_attribute p ON p.attrelid = i.inhparent JOIN pg_attribute l ON l.attrelid = i.inhrelid AND l.attname = p.attname
   WHERE i.inhparent = rel AND p.attnum > 0 AND NOT p.attisdropped AND decan.column_options(p.attoptions) IS NOT NULL
     AND decan.column_options(l.attoptions) IS DISTINCT FROM decan.column_options(p.attoptions)
  UNION ALL
  SELECT format('ALTER INDEX %s RENAME TO %I', x.oid::regclass, decan.leaf_index_name(l.relname, p.relname))
    FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid JOIN pg_index n ON n.indrelid = l.oid JOIN pg_class x ON x.oid = n.indexrelid
    JOIN pg_inherits xi ON xi.inhrelid = x.oid JOIN pg_class p ON p.oid = xi.inhparent
   WHERE i.inhparent = rel AND x.relname <> decan.leaf_index_name(l.relname, p.relname)
  UNION ALL
  SELECT format('ALTER TABLE %s REPLICA IDENTITY %s', l.oid::regclass,
                CASE p.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'd' THEN 'DEFAULT'
                ELSE (SELECT format('USING INDEX %I', decan.leaf_index_name(l.relname, x.relname))
                        FROM pg_index n JOIN pg_class x ON x.oid = n.indexrelid WHERE n.indrelid = p.oid AND n.indisreplident) END)
    FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
   WHERE i.inhparent = rel AND l.relreplident <> p.relreplident
$$;

-- Brings the leaves of a sharded table in step with it.
CREATE OR REPLACE FUNCTION decan.sync_leaves(rel regclass, privileges_only bool DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  statement text;
  nested bool := decan.in_change();
BEGIN
  IF NOT EXISTS (SELECT FROM decan.relation r WHERE r.relid = rel AND r.placement = 'sharded') THEN RETURN; END IF;
  -- What is run here would be refused as DDL on shards by the event trigger, if no change were open.
  IF NOT nested THEN INSERT INTO decan.change(xid) VALUES (pg_current_xact_id()); END IF;
  PERFORM decan.sync_privileges(rel);
  IF NOT privileges_only THEN
    FOR statement IN SELECT decan.leaf_statements(rel) LOOP
      EXECUTE statement;
    END LOOP;
  END IF;
  IF NOT nested THEN PERFORM decan.end_change(); END IF;
END $$;

-- A sharded table must have exactly the leaves that the bucket map puts on this unit.
CREATE OR REPLACE FUNCTION decan.check_leaves(rel regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (SELECT array_agg(w.leaf ORDER BY w.leaf)
        FROM (SELECT format('decan_shard.%s_%s', r.leaf_prefix, b.bucket) FROM decan.relation r JOIN decan.bucket b USING (group_id)
               WHERE r.relid = rel AND b.unit = (SELECT m.unit FROM decan.map m)) w(leaf))
     IS DISTINCT FROM
     (SELECT array_agg(h.leaf ORDER BY h.leaf)
        FROM (SELECT format('%s.%s', n.nspname, c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.inhparent = rel) h(leaf)) THEN
    PERFORM decan.refuse(format('the partitions of sharded table %s are managed by Decan', rel),
      'They can not be attached, detached, created, renamed or dropped by hand.');
  END IF;
END $$;

-- A sequence that came to a sharded table by ALTER TABLE gets this unit's range, if it has not numbered rows yet.
CREATE OR REPLACE FUNCTION decan.adopt_sequences(rel regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m decan.map;
  s record;
  used bool;
BEGIN
  SELECT * INTO m FROM decan.map;
  IF m.unit_count < 2 OR NOT EXISTS (SELECT FROM decan.column_sequences(rel) c WHERE NOT EXISTS
                                       (SELECT FROM decan.sequence o WHERE o.seqid = c.seqid)) THEN
    RETURN;
  END IF;
  PERFORM decan.check_sequences(rel, m.unit_count);
  FOR s IN SELECT c.* FROM decan.column_sequences(rel) c WHERE NOT EXISTS (SELECT FROM decan.sequence o WHERE o.seqid = c.seqid) LOOP
    EXECUTE format('SELECT is_called FROM %s', s.seqid::regclass) INTO used;
    IF used THEN
      PERFORM decan.refuse(format('column "%s" would number the rows of sharded table %s twice', s.attname, rel),
        'Every unit has numbered its own rows. Add the column without a sequence, fill it, and then give it one.');
    END IF;
  END LOOP;
  INSERT INTO decan.change(xid) VALUES (pg_current_xact_id());
  PERFORM decan.assign_sequences(rel, m.unit, m.unit_count, '{}');
  PERFORM decan.end_change();
END $$;

CREATE OR REPLACE FUNCTION decan.on_ddl_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item record;
BEGIN
  IF decan.in_change() THEN RETURN; END IF;
  -- A table planted under a leaf's name would answer for it. Indexes are made there by CREATE INDEX on the parent.
  SELECT c.object_identity INTO item FROM pg_event_trigger_ddl_commands() c
   WHERE c.schema_name = 'decan_shard' AND c.object_type NOT IN ('index', 'table constraint') LIMIT 1;
  IF FOUND AND NOT pg_has_role(decan.caller(), current_user, 'USAGE') THEN
    PERFORM decan.refuse(format('%s lies in schema decan_shard, which is managed by Decan', item.object_identity),
      'Alter the table that the shard belongs to, and create your own objects in another schema.');
  END IF;
  IF NOT EXISTS (SELECT FROM decan.relation) THEN RETURN; END IF;
  IF tg_tag IN ('GRANT', 'REVOKE') THEN
    PERFORM decan.sync_leaves(r.relid, true) FROM decan.relation r WHERE r.placement = 'sharded';
    RETURN;
  END IF;
  FOR item IN
    SELECT DISTINCT o.rel, r.placement, i.inhparent AS parent
    FROM (SELECT coalesce(x.indrelid, t.tgrelid, p.polrelid, CASE c.classid WHEN 'pg_class'::regclass THEN c.objid END) AS rel
            FROM pg_event_trigger_ddl_commands() c
            LEFT JOIN pg_index x ON c.classid = 'pg_class'::regclass AND x.indexrelid = c.objid
            LEFT JOIN pg_trigger t ON c.classid = 'pg_trigger'::regclass AND t.oid = c.objid
            LEFT JOIN pg_policy p ON c.classid = 'pg_policy'::regclass AND p.oid = c.objid) o
    LEFT JOIN pg_inherits i ON i.inhrelid = o.rel
    LEFT JOIN decan.relation r ON r.relid IN (o.rel, i.inhparent)
    WHERE o.rel IS NOT NULL LOOP
    IF item.parent IS NOT NULL AND item.placement = 'sharded' THEN
      PERFORM decan.check_leaves(item.parent);
      PERFORM decan.refuse(format('%s is a shard of table %s', item.rel::regclass, item.parent::regclass), 'Alter the table itself.');
    END IF;
    PERFORM decan.check_foreign_keys(item.rel, f.placement, f.group_id, f.keys) FROM decan.facts(item.rel) f;
    IF item.placement = 'sharded' THEN
      PERFORM decan.check_leaves(item.rel);
      PERFORM decan.adopt_sequences(item.rel);
      PERFORM decan.sync_leaves(item.rel);
    END IF;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION decan.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  leaf text;
BEGIN
  DELETE FROM decan.attached a USING pg_event_trigger_dropped_objects() d
   WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.objid = a.relid;
  IF NOT EXISTS (SELECT FROM decan.relation) THEN RETURN; END IF;
  DELETE FROM decan.relation r USING pg_event_trigger_dropped_objects() d
   WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.objid = r.relid;
  DELETE FROM decan.sequence s USING pg_event_trigger_dropped_objects() d
   WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.objid = s.seqid;
  IF decan.in_change() THEN RETURN; END IF;
  PERFORM decan.drop_unused_groups();
  SELECT d.object_identity INTO leaf
    FROM pg_event_trigger_dropped_objects() d JOIN decan.relation r ON starts_with(d.object_name, r.leaf_prefix || '_')
   WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.schema_name = 'decan_shard' AND d.object_type = 'table' LIMIT 1;
  IF FOUND THEN
    PERFORM decan.refuse(format('%s is a shard of a table that stays', leaf), 'Drop the table itself.');
  END IF;
END $$;

DROP EVENT TRIGGER IF EXISTS decan_ddl_end;
DROP EVENT TRIGGER IF EXISTS decan_drop;
CREATE EVENT TRIGGER decan_ddl_end ON ddl_command_end EXECUTE FUNCTION decan.on_ddl_end();
CREATE EVENT TRIGGER decan_drop ON sql_drop EXECUTE FUNCTION decan.on_drop();
SELECT pg_catalog.set_config('client_min_messages', 'notice', true);
