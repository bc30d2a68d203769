-- What can be placed, and what must be refused, each with the reason. All run on the home unit before anything is changed.

-- Placement of a table; a table that nobody placed is single.
CREATE OR REPLACE FUNCTION decan.facts(rel oid, OUT placement text, OUT group_id int, OUT keys int2[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT r.placement FROM decan.relation r WHERE r.relid = rel), 'single'),
         (SELECT r.group_id FROM decan.relation r WHERE r.relid = rel),
         ARRAY(SELECT k FROM pg_partitioned_table p, unnest(p.partattrs::int2[]) WITH ORDINALITY u(k, n)
                WHERE p.partrelid = rel ORDER BY n)::int2[]
$$;

-- Why a foreign key can not be kept, or NULL. `rel` counts as if it were placed as the other arguments say.
CREATE OR REPLACE FUNCTION decan.foreign_key_problem(con oid, rel oid, rel_placement text, rel_group int, rel_keys int2[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k pg_constraint;
  child record;
  parent record;
BEGIN
  SELECT * INTO k FROM pg_constraint WHERE oid = con;
  SELECT * INTO child FROM decan.facts(k.conrelid);
  SELECT * INTO parent FROM decan.facts(k.confrelid);
  IF k.conrelid = rel THEN
    SELECT rel_placement AS placement, rel_group AS group_id, rel_keys AS keys INTO child;
  END IF;
  IF k.confrelid = rel THEN
    SELECT rel_placement AS placement, rel_group AS group_id, rel_keys AS keys INTO parent;
  END IF;
  IF parent.placement = 'broadcast' OR (parent.placement = 'single' AND child.placement = 'single') THEN
    RETURN NULL;
  ELSIF parent.placement = 'single' THEN
    RETURN format('table %s is not on every unit', k.confrelid::regclass);
  ELSIF child.placement = 'single' AND pg_relation_size(k.conrelid) = 0 AND NOT EXISTS (SELECT FROM decan.attached a WHERE a.relid = k.conrelid)
        AND EXISTS (SELECT FROM pg_class c WHERE c.oid = k.conrelid AND c.relkind = 'r' AND NOT c.relispartition) THEN
    RETURN NULL;  -- it waits to be distributed: compute nodes let no rows in until then
  ELSIF child.placement <> 'sharded' THEN
    RETURN format('table %s is sharded, so no single unit can check the reference', k.confrelid::regclass);
  ELSIF child.group_id IS DISTINCT FROM parent.group_id THEN
    RETURN format('tables %s and %s are not co-located', k.conrelid::regclass, k.confrelid::regclass);
  ELSIF EXISTS (SELECT FROM unnest(child.keys, parent.keys) u(c, p)
                 WHERE NOT EXISTS (SELECT FROM unnest(k.conkey, k.confkey) f(c, p) WHERE f.c = u.c AND f.p = u.p)) THEN
    RETURN 'the foreign key does not contain the sharding key on both sides';
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION decan.check_foreign_keys(rel oid, rel_placement text, rel_group int, rel_keys int2[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k record;
BEGIN
  FOR k IN SELECT c.conname, c.conrelid, c.convalidated,
                  decan.foreign_key_problem(c.oid, rel, rel_placement, rel_group, rel_keys) AS problem
             FROM pg_constraint c
            WHERE c.contype = 'f' AND c.conparentid = 0 AND rel IN (c.conrelid, c.confrelid) ORDER BY c.conname LOOP
    IF k.problem IS NOT NULL THEN
      PERFORM decan.refuse(format('foreign key "%s" of table %s can not be kept: %s', k.conname, k.conrelid::regclass, k.problem),
        'Foreign keys can refer to broadcast tables, and to tables of the same shard group when both sides contain the sharding key. '
        'A table without rows may refer to a sharded one until it is distributed itself.');
    ELSIF rel_placement = 'sharded' AND k.conrelid = rel AND NOT k.convalidated THEN
      PERFORM decan.refuse(format('foreign key "%s" of table %s is not validated', k.conname, rel::regclass),
        format('Run ALTER TABLE %s VALIDATE CONSTRAINT %I first, or drop the constraint.', rel::regclass, k.conname));
    END IF;
  END LOOP;
END $$;

-- Foreign keys of other tables that refer to this one, to be taken off and put back where it is made again.
CREATE OR REPLACE FUNCTION decan.incoming_foreign_keys(rel regclass) RETURNS TABLE (dropped text, added text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname),
         format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_constraint k
   WHERE k.contype = 'f' AND k.confrelid = rel AND k.conrelid <> rel AND k.conparentid = 0 ORDER BY k.conrelid, k.conname
$$;

-- What depends on the table and would be lost if it were made again: views, functions, columns of its row type.
-- `why` tells what is wrong with them.
CREATE OR REPLACE FUNCTION decan.check_dependents(rel oid, why text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  dependent text;
BEGIN
  SELECT CASE WHEN r.oid IS NOT NULL THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)
              ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END INTO dependent
    FROM pg_depend d
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.ev_class <> rel
   WHERE d.deptype = 'n' AND d.classid <> 'pg_class'::regclass
     AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = rel
          OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN
             (SELECT t.oid FROM pg_type t JOIN pg_class c ON c.oid = rel AND t.oid IN (c.reltype)
              UNION SELECT t.typarray FROM pg_type t JOIN pg_class c ON c.oid = rel AND t.oid = c.reltype))
     AND NOT EXISTS (SELECT FROM pg_constraint k WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid)
     AND NOT EXISTS (SELECT FROM pg_attrdef a WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid AND a.adrelid = rel)
     AND NOT EXISTS (SELECT FROM pg_trigger t WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND t.tgrelid = rel)
     AND NOT EXISTS (SELECT FROM pg_policy p WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid AND p.polrelid = rel)
   ORDER BY 1 LIMIT 1;
  IF dependent IS NULL THEN
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid) INTO dependent
      FROM pg_depend d JOIN pg_class c ON c.oid = rel JOIN pg_type t ON t.oid = c.reltype
     WHERE d.deptype = 'n' AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass
       AND d.refobjid IN (t.oid, t.typarray) ORDER BY 1 LIMIT 1;
  END IF;
  IF dependent IS NOT NULL THEN
    PERFORM decan.refuse(format('%s depends on table %s%s', dependent, rel::regclass, why),
      format('Drop the %s, place the table, and create it again.', dependent));
  END IF;
END $$;

-- Properties that neither a sharded nor a broadcast table can have.
CREATE OR REPLACE FUNCTION decan.check_placeable(rel oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c pg_class;
  placed text := (SELECT r.placement FROM decan.relation r WHERE r.relid = rel);
  reason text;
BEGIN
  SELECT * INTO c FROM pg_class WHERE oid = rel;
  IF placed IS NOT NULL THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = format('table %s is %s already', rel::regclass, placed),
      HINT = format('SELECT undistribute_table(%L) makes it a single table again.', rel::regclass);
  ELSIF c.relkind NOT IN ('r', 'p') THEN
    RAISE wrong_object_type USING MESSAGE = format('%s is not a table', rel::regclass);
  END IF;
  reason := CASE
    WHEN c.relkind = 'p' THEN 'it is partitioned'
    WHEN c.relispartition THEN 'it is a partition of another table'
    WHEN c.relpersistence = 't' THEN 'it is temporary'
    WHEN c.relnamespace::regnamespace::text IN ('pg_catalog', 'information_schema', 'pg_toast', 'decan', 'decan_shard')
      THEN 'it belongs to the system'
    WHEN EXISTS (SELECT FROM pg_inherits i WHERE rel IN (i.inhrelid, i.inhparent)) THEN 'it takes part in inheritance'
    WHEN c.reloftype <> 0 THEN 'it is a typed table'
    WHEN c.relam <> (SELECT oid FROM pg_am WHERE amname = 'heap') THEN 'its access method is not heap'
    WHEN c.reltablespace <> 0 OR EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                                          WHERE i.indrelid = rel AND x.reltablespace <> 0)
      THEN 'it or an index of it is in a tablespace of its own'
    WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = rel AND d.deptype = 'e')
      THEN 'it belongs to an extension'
    WHEN EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = rel) THEN 'it has rules'
    WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = rel AND NOT (i.indisvalid AND i.indisready))
      THEN 'it has an invalid index' END;
  IF reason IS NOT NULL THEN
    PERFORM decan.refuse(format('table %s can not be placed: %s', rel::regclass, reason),
      'Only plain, permanent tables can be sharded or broadcast.');
  END IF;
END $$;

-- A column list checked and turned into attnums.
CREATE OR REPLACE FUNCTION decan.key_attnums(rel regclass, keys text[]) RETURNS int2[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  key text;
  a pg_attribute;
  result int2[] := '{}';
BEGIN
  FOREACH key IN ARRAY keys LOOP
    SELECT * INTO a FROM pg_attribute WHERE attrelid = rel AND attname = key AND attnum > 0 AND NOT attisdropped;
    IF NOT FOUND THEN
      RAISE undefined_column USING MESSAGE = format('column "%s" of relation %s does not exist', key, rel);
    ELSIF a.attnum = ANY (result) THEN
      RAISE duplicate_column USING MESSAGE = format('column "%s" appears twice in the sharding key', key);
    ELSIF a.attgenerated <> '' THEN
      PERFORM decan.refuse(format('generated column "%s" can not be a sharding key', key), 'Choose a stored column.');
    ELSIF EXISTS (SELECT FROM pg_collation c WHERE c.oid = a.attcollation AND NOT c.collisdeterministic) THEN
      PERFORM decan.refuse(format('column "%s" can not be a sharding key: its collation is not deterministic', key),
        'Choose another column, or give it a deterministic collation.');
    END IF;
    result := result || a.attnum;
  END LOOP;
  RETURN result;
END $$;

CREATE OR REPLACE FUNCTION decan.check_unique_keys(rel regclass, keys text[], attnums int2[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  i record;
BEGIN
  FOR i IN SELECT x.relname, ix.indisexclusion, ix.indisprimary,
                  (ix.indkey::int2[])[0:ix.indnkeyatts - 1] @> attnums AS contains_key
             FROM pg_index ix JOIN pg_class x ON x.oid = ix.indexrelid
            WHERE ix.indrelid = rel AND (ix.indisunique OR ix.indisexclusion) ORDER BY ix.indisprimary DESC, x.relname LOOP
    IF i.indisexclusion THEN
      PERFORM decan.refuse(format('exclusion constraint "%s" of table %s can not be kept on a sharded table', i.relname, rel),
        'Drop the constraint, or make the table a broadcast table.');
    ELSIF NOT i.contains_key THEN
      PERFORM decan.refuse(format('%s "%s" of table %s does not contain the sharding key (%s)',
          CASE WHEN i.indisprimary THEN 'primary key' ELSE 'unique constraint' END, i.relname, rel, array_to_string(keys, ', ')),
        'Only units together could check it. Add the key columns to it, or choose a key that it contains.');
    END IF;
  END LOOP;
END $$;

-- Sequences give each unit a range of its own, which needs a bigint column.
CREATE OR REPLACE FUNCTION decan.check_sequences(rel regclass, units int) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s record;
BEGIN
  IF units < 2 THEN RETURN; END IF;
  FOR s IN SELECT c.attname, c.column_type, q.seqincrement, q.seqcycle
             FROM decan.column_sequences(rel) c JOIN pg_sequence q ON q.seqrelid = c.seqid LOOP
    IF s.column_type IN ('int2'::regtype, 'int4'::regtype) THEN
      PERFORM decan.refuse(format('column "%s" of sharded table %s takes its values from a sequence but is not bigint', s.attname, rel),
        format('Every unit numbers rows from a range of its own: ALTER TABLE %s ALTER COLUMN %I TYPE bigint.', rel, s.attname));
    ELSIF s.seqincrement < 0 OR s.seqcycle THEN
      PERFORM decan.refuse(format('the sequence of column "%s" of table %s counts down or cycles', s.attname, rel),
        'Every unit numbers rows upwards in a range of its own.');
    END IF;
  END LOOP;
END $$;

-- Range bounds are compared byte by byte outside the server too.
CREATE OR REPLACE FUNCTION decan.check_range_collations(rel regclass, attnums int2[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  bad name;
BEGIN
  SELECT a.attname INTO bad
    FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
    JOIN pg_database d ON d.datname = current_database()
   WHERE a.attrelid = rel AND a.attnum = ANY (attnums)
     AND NOT (c.collprovider = 'c' AND c.collcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')
              OR c.collprovider = 'd' AND d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8'))
   LIMIT 1;
  IF bad IS NOT NULL THEN
    PERFORM decan.refuse(format('column "%s" can not be a range key: its collation does not order by bytes', bad),
      'Declare the column with COLLATE "C", or use hash or list sharding.');
  END IF;
END $$;

-- Everything that can be known before a table is sharded. Returns the key's attnums.
CREATE OR REPLACE FUNCTION decan.check_sharded(rel regclass, keys text[], algorithm text, shard_group int, units int) RETURNS int2[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  attnums int2[];
  culprit name;
BEGIN
  PERFORM decan.check_owner(rel);
  PERFORM decan.check_placeable(rel);
  attnums := decan.key_attnums(rel, keys);
  IF algorithm = 'range' THEN PERFORM decan.check_range_collations(rel, attnums); END IF;
  PERFORM decan.check_unique_keys(rel, keys, attnums);
  PERFORM decan.check_foreign_keys(rel, 'sharded', shard_group, attnums);
  PERFORM decan.check_sequences(rel, units);
  SELECT k.conname INTO culprit FROM pg_constraint k WHERE k.conrelid = rel AND k.contype = 'c' AND k.connoinherit LIMIT 1;
  IF FOUND THEN
    PERFORM decan.refuse(format('check constraint "%s" of table %s is NO INHERIT', culprit, rel), 'Make it an ordinary check constraint.');
  END IF;
  SELECT t.tgname INTO culprit FROM pg_trigger t
   WHERE t.tgrelid = rel AND NOT t.tgisinternal AND (t.tgoldtable IS NOT NULL OR t.tgnewtable IS NOT NULL) LIMIT 1;
  IF FOUND THEN
    PERFORM decan.refuse(format('trigger "%s" of table %s uses transition tables', culprit, rel),
      'It would see the rows of one unit only. Use a row trigger without transition tables.');
  END IF;
  SELECT x.relname INTO culprit FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = rel AND i.indisclustered;
  IF FOUND THEN
    PERFORM decan.refuse(format('table %s is marked to be clustered on index "%s"', rel, culprit),
      format('Run ALTER TABLE %s SET WITHOUT CLUSTER first.', rel));
  END IF;
  IF EXISTS (SELECT FROM pg_publication_rel p WHERE p.prrelid = rel) THEN
    PERFORM decan.refuse(format('table %s is part of a publication', rel), 'Take it out of the publication first.');
  END IF;
  PERFORM decan.check_dependents(rel, ', which has to be made again');
  RETURN attnums;
END $$;

CREATE OR REPLACE FUNCTION decan.check_broadcast(rel regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM decan.check_owner(rel);
  PERFORM decan.check_placeable(rel);
  PERFORM decan.check_foreign_keys(rel, 'broadcast', NULL, '{}');
  PERFORM decan.check_dependents(rel, ' and would be there on the home unit only');
END $$;

-- Before the rows of a table that lives on another unit come to the home unit.
CREATE OR REPLACE FUNCTION decan.check_bring_home(rel regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  culprit record;
BEGIN
  PERFORM decan.check_owner(rel);
  PERFORM decan.check_placeable(rel);
  PERFORM decan.check_dependents(rel, ', which has to be made again');
  SELECT k.conname, k.conrelid::regclass AS child INTO culprit FROM pg_constraint k
   WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
     AND (k.conrelid = rel AND EXISTS (SELECT FROM decan.attached a WHERE a.relid = k.confrelid)
          OR k.confrelid = rel AND EXISTS (SELECT FROM decan.attached a WHERE a.relid = k.conrelid))
   ORDER BY 1, 2 LIMIT 1;
  IF FOUND THEN
    PERFORM decan.refuse(format('foreign key "%s" of table %s can not be kept: its other table stays on the storage unit that it came with',
                                culprit.conname, culprit.child),
      'Drop the foreign key, place both tables, and add it again.');
  END IF;
  SELECT s.seqid::regclass AS name, s.attname INTO culprit FROM decan.column_sequences(rel) s
   WHERE s.kind = 'n' AND EXISTS (SELECT FROM decan.attached a WHERE a.relid = s.seqid) LIMIT 1;
  IF FOUND THEN
    PERFORM decan.refuse(format('column "%s" of table %s takes values from sequence %s, which stays on the storage unit that it came with',
                                culprit.attname, rel, culprit.name),
      format('If no other table uses it: ALTER SEQUENCE %s OWNED BY %s.%I', culprit.name, rel, culprit.attname));
  END IF;
END $$;

CREATE OR REPLACE FUNCTION decan.check_undistribute(rel regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  placed text := (SELECT r.placement FROM decan.relation r WHERE r.relid = rel);
BEGIN
  PERFORM decan.check_owner(rel);
  IF placed IS NULL THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = format('table %s is neither sharded nor broadcast', rel);
  END IF;
  PERFORM decan.check_foreign_keys(rel, 'single', NULL, '{}');
  IF placed = 'sharded' THEN PERFORM decan.check_dependents(rel, ', which has to be made again'); END IF;
  RETURN placed;
END $$;
