-- Event triggers that keep leaves in step with their parents after any DDL, and refuse DDL that would break the placement.

-- Name of a leaf's index, from which the parent's index can be told: <leaf>_<first 8 hex digits of md5(parent's index name)>.
CREATE OR REPLACE FUNCTION decan.leaf_index_name(leaf name, parent_index name) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT leaf || '_' || substr(md5(parent_index), 1, 8) $$;

-- Owner, privileges, column options, replica identity and index names of the leaves as the parent's. With row security on the
-- parent nobody but the owner may touch a leaf: the policies do not hold there.
CREATE OR REPLACE FUNCTION decan.sync_leaves(rel regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parent pg_class;
  leaf record;
  item record;
  wanted aclitem[];
  nested bool := decan.in_change();
BEGIN
  SELECT c.* INTO parent FROM pg_class c JOIN decan.relation r ON r.relid = c.oid WHERE c.oid = rel AND r.placement = 'sharded';
  IF NOT FOUND THEN RETURN; END IF;
  -- What is run here would be refused as DDL on shards by the event trigger, if no change were open.
  IF NOT nested THEN INSERT INTO decan.change(xid) VALUES (pg_current_xact_id()); END IF;
  wanted := CASE WHEN parent.relrowsecurity THEN acldefault('r', parent.relowner)
                 ELSE coalesce(parent.relacl, acldefault('r', parent.relowner)) END;
  FOR leaf IN SELECT c.oid, c.relname, c.relowner, c.relacl FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = rel LOOP
    IF leaf.relowner <> parent.relowner THEN
      EXECUTE format('ALTER TABLE %s OWNER TO %I', leaf.oid::regclass, pg_get_userbyid(parent.relowner));
    END IF;
    PERFORM decan.set_acl(leaf.oid, wanted);
    FOR item IN SELECT l.attname, CASE WHEN parent.relrowsecurity THEN NULL ELSE p.attacl END AS acl
                  FROM pg_attribute p JOIN pg_attribute l ON l.attrelid = leaf.oid AND l.attname = p.attname
                 WHERE p.attrelid = rel AND p.attnum > 0 AND NOT p.attisdropped
                   AND l.attacl IS DISTINCT FROM CASE WHEN parent.relrowsecurity THEN NULL ELSE p.attacl END LOOP
      PERFORM decan.set_column_acl(leaf.oid, item.attname, item.acl);
    END LOOP;
    FOR item IN SELECT format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', leaf.oid::regclass, p.attname, array_to_string(decan.column_options(p.attoptions), ', ')) AS sql
                  FROM pg_attribute p JOIN pg_attribute l ON l.attrelid = leaf.oid AND l.attname = p.attname
                 WHERE p.attrelid = rel AND p.attnum > 0 AND NOT p.attisdropped AND decan.column_options(p.attoptions) IS NOT NULL
                   AND decan.column_options(l.attoptions) IS DISTINCT FROM decan.column_options(p.attoptions)
                UNION ALL
                SELECT format('ALTER INDEX %s RENAME TO %I', l.oid::regclass, decan.leaf_index_name(leaf.relname, p.relname))
                  FROM pg_index x JOIN pg_class l ON l.oid = x.indexrelid
                  JOIN pg_inherits i ON i.inhrelid = l.oid JOIN pg_class p ON p.oid = i.inhparent
                 WHERE x.indrelid = leaf.oid AND l.relname <> decan.leaf_index_name(leaf.relname, p.relname)
                UNION ALL
                SELECT format('ALTER TABLE %s REPLICA IDENTITY %s', leaf.oid::regclass,
                              CASE parent.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE 'DEFAULT' END)
                  FROM pg_class c WHERE c.oid = leaf.oid AND c.relreplident <> parent.relreplident AND parent.relreplident <> 'i'
                UNION ALL
                SELECT format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', leaf.oid::regclass, decan.leaf_index_name(leaf.relname, p.relname))
                  FROM pg_index y JOIN pg_class p ON p.oid = y.indexrelid JOIN pg_class c ON c.oid = leaf.oid
                 WHERE y.indrelid = rel AND y.indisreplident AND parent.relreplident = 'i' AND c.relreplident <> 'i' LOOP
      EXECUTE item.sql;
    END LOOP;
  END LOOP;
  IF NOT nested THEN PERFORM decan.end_change(); END IF;
END $$;

-- A sharded table must have exactly the leaves that the bucket map puts on this unit.
CREATE OR REPLACE FUNCTION decan.check_leaves(rel regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (SELECT array_agg(format('decan_shard.%s_%s', r.leaf_prefix, b.bucket) ORDER BY 1)
        FROM decan.relation r JOIN decan.bucket b USING (group_id) WHERE r.relid = rel AND b.unit = (SELECT m.unit FROM decan.map m))
     IS DISTINCT FROM
     (SELECT array_agg(format('%s.%s', n.nspname, c.relname) ORDER BY 1)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.inhparent = rel) THEN
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
  IF NOT EXISTS (SELECT FROM decan.relation r WHERE r.placement <> 'single') THEN RETURN; END IF;
  IF tg_tag IN ('GRANT', 'REVOKE') THEN
    PERFORM decan.sync_leaves(r.relid) FROM decan.relation r WHERE r.placement = 'sharded';
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
