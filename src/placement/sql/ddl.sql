-- The definition of a table as statements, so that it can be made again on every unit, partitioned or plain. Nothing here writes.

-- Sequences behind the columns of a table. kind: i identity, o owned (serial), n only named in a default.
CREATE OR REPLACE FUNCTION decan.column_sequences(rel oid)
RETURNS TABLE(attnum int2, attname name, column_type oid, seqid oid, kind "char")
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT ON (s.seqid) a.attnum, a.attname, a.atttypid, s.seqid, s.kind
  FROM (SELECT d.objid, d.refobjsubid, CASE d.deptype WHEN 'i' THEN 'i' ELSE 'o' END::"char"
          FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = rel
           AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
        UNION ALL
        SELECT d.refobjid, ad.adnum, 'n'
          FROM pg_attrdef ad
          JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid AND d.refclassid = 'pg_class'::regclass
         WHERE ad.adrelid = rel AND d.deptype = 'n') s(seqid, attnum, kind)
  JOIN pg_class c ON c.oid = s.seqid AND c.relkind = 'S'
  JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = s.attnum
  ORDER BY s.seqid, s.kind = 'n'
$$;

-- A sequence's options as they were before Decan gave it a range.
CREATE OR REPLACE FUNCTION decan.sequence_options(seqid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s',
                coalesce(o.increment, s.seqincrement), coalesce(o.min, s.seqmin), coalesce(o.max, s.seqmax),
                coalesce(o.start, s.seqstart), coalesce(o.cache, s.seqcache),
                CASE WHEN coalesce(o.cycle, s.seqcycle) THEN ' CYCLE' ELSE '' END)
  FROM pg_sequence s LEFT JOIN decan.sequence o ON o.seqid = s.seqrelid WHERE s.seqrelid = sequence_options.seqid
$$;

-- name=value pairs of WITH (…), those of the TOAST table included.
CREATE OR REPLACE FUNCTION decan.storage_options(rel oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT r.storage_options FROM decan.relation r WHERE r.relid = rel AND r.placement = 'sharded'),
                  coalesce(c.reloptions, '{}') ||
                  ARRAY(SELECT 'toast.' || o FROM pg_class t, unnest(t.reloptions) o WHERE t.oid = c.reltoastrelid))
  FROM pg_class c WHERE c.oid = rel
$$;

CREATE OR REPLACE FUNCTION decan.with_clause(options text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(' WITH (' || string_agg(format('%s=%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', ') || ')', '')
  FROM unnest(options) o
$$;

CREATE OR REPLACE FUNCTION decan.column_definition(rel oid, att int2) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) ||
         CASE a.attcompression WHEN 'p' THEN ' COMPRESSION pglz' WHEN 'l' THEN ' COMPRESSION lz4' ELSE '' END ||
         coalesce((SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                     FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
                    WHERE c.oid = a.attcollation AND a.attcollation <> t.typcollation), '') ||
         CASE WHEN a.attidentity <> '' THEN
                (SELECT format(' GENERATED %s AS IDENTITY (SEQUENCE NAME %s %s)',
                               CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
                               s.seqid::regclass, decan.sequence_options(s.seqid))
                   FROM decan.column_sequences(rel) s WHERE s.attnum = att AND s.kind = 'i')
              WHEN a.attgenerated = 's' THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, d.adrelid))
              WHEN d.oid IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
              ELSE '' END ||
         CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = rel AND a.attnum = att
$$;

-- partition_by: '' for a plain table.
CREATE OR REPLACE FUNCTION decan.create_table_statement(rel oid, partition_by text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('CREATE %sTABLE %s (%s)%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, rel::regclass,
                concat_ws(', ',
                  (SELECT string_agg(decan.column_definition(rel, a.attnum), ', ' ORDER BY a.attnum)
                     FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped),
                  (SELECT string_agg(format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)), ', ' ORDER BY k.conname)
                     FROM pg_constraint k WHERE k.conrelid = rel AND k.contype = 'c' AND k.convalidated)),
                CASE partition_by WHEN '' THEN decan.with_clause(decan.storage_options(rel)) ELSE ' ' || partition_by END)
  FROM pg_class c WHERE c.oid = rel
$$;

-- An index with the constraint on it. A partitioned parent's definition says ONLY, which is taken out.
CREATE OR REPLACE FUNCTION decan.index_statement(index_id oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN k.oid IS NOT NULL THEN
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, k.conname,
                  regexp_replace(pg_get_constraintdef(k.oid), '( DEFERRABLE( INITIALLY DEFERRED)?)?$',
                                 replace(decan.with_clause(c.reloptions), '\', '\\') || '\1'))
         ELSE overlay(pg_get_indexdef(i.indexrelid)
                      PLACING format('CREATE %sINDEX %I ON ', u.word, c.relname)
                      FROM 1 FOR CASE WHEN starts_with(pg_get_indexdef(i.indexrelid), p.only_prefix)
                                      THEN length(p.only_prefix)
                                      ELSE length(format('CREATE %sINDEX %I ON ', u.word, c.relname)) END)
         END
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
  CROSS JOIN LATERAL (SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END) u(word)
  CROSS JOIN LATERAL (SELECT format('CREATE %sINDEX %I ON ONLY ', u.word, c.relname)) p(only_prefix)
  WHERE i.indexrelid = index_id
$$;

CREATE OR REPLACE FUNCTION decan.policy_statement(policy oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, p.polrelid::regclass,
                CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                              ELSE 'ALL' END,
                (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', ')
                   FROM unnest(p.polroles) o)) ||
         coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '') ||
         coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
  FROM pg_policy p WHERE p.oid = policy
$$;

-- COMMENT statements of a table and of everything that belongs to it.
CREATE OR REPLACE FUNCTION decan.comment_statements(rel oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('COMMENT ON %s IS %L', o.object, d.description)
  FROM (SELECT 'pg_class'::regclass, rel, 0, 'TABLE ' || rel::regclass
        UNION ALL
        SELECT 'pg_class'::regclass, rel, a.attnum, format('COLUMN %s.%I', rel::regclass, a.attname)
          FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 'pg_class'::regclass, i.indexrelid, 0, 'INDEX ' || i.indexrelid::regclass FROM pg_index i WHERE i.indrelid = rel
        UNION ALL
        SELECT 'pg_class'::regclass, s.seqid, 0, 'SEQUENCE ' || s.seqid::regclass
          FROM decan.column_sequences(rel) s WHERE s.kind <> 'n'
        UNION ALL
        SELECT 'pg_constraint'::regclass, k.oid, 0, format('CONSTRAINT %I ON %s', k.conname, rel::regclass)
          FROM pg_constraint k WHERE k.conrelid = rel
        UNION ALL
        SELECT 'pg_trigger'::regclass, t.oid, 0, format('TRIGGER %I ON %s', t.tgname, rel::regclass)
          FROM pg_trigger t WHERE t.tgrelid = rel AND NOT t.tgisinternal
        UNION ALL
        SELECT 'pg_policy'::regclass, p.oid, 0, format('POLICY %I ON %s', p.polname, rel::regclass)
          FROM pg_policy p WHERE p.polrelid = rel
        UNION ALL
        SELECT 'pg_statistic_ext'::regclass, s.oid, 0, format('STATISTICS %I.%I', n.nspname, s.stxname)
          FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = rel)
       o(class, id, sub, object)
  JOIN pg_description d ON d.classoid = o.class AND d.objoid = o.id AND d.objsubid = o.sub
$$;

-- The options of a column that users set. Servers from 15.20 on keep a version of every column (pg_attver) among them, which belongs
-- to that server's column alone and which pg_dump leaves out too.
CREATE OR REPLACE FUNCTION decan.column_options(options text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT nullif(ARRAY(SELECT o FROM unnest(options) o WHERE split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited')), '{}')
$$;

-- Statements that set what pg_attribute holds besides the definition.
CREATE OR REPLACE FUNCTION decan.column_settings(rel oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', rel::regclass, a.attname, a.attstattarget)
    FROM pg_attribute a
   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
  UNION ALL
  SELECT format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', rel::regclass, a.attname, array_to_string(decan.column_options(a.attoptions), ', '))
    FROM pg_attribute a
   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND decan.column_options(a.attoptions) IS NOT NULL
$$;

-- All statements that make the table, by phase: `sequence` (where the sequence is not there yet), `table`, `index` (after the
-- rows), `foreign` (foreign keys), `finish`. Names are qualified: any search_path gives the same result.
CREATE OR REPLACE FUNCTION decan.table_statements(rel regclass, partition_by text)
RETURNS TABLE(phase text, statement text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'sequence', format('CREATE SEQUENCE %s%s AS %s %s', CASE s.kind WHEN 'n' THEN 'IF NOT EXISTS ' ELSE '' END,
                            s.seqid::regclass, format_type(coalesce(o.type, q.seqtypid), NULL), decan.sequence_options(s.seqid))
    FROM decan.column_sequences(rel) s JOIN pg_sequence q ON q.seqrelid = s.seqid
    LEFT JOIN decan.sequence o ON o.seqid = s.seqid WHERE s.kind <> 'i'
  UNION ALL
  SELECT 'table', decan.create_table_statement(rel, partition_by)
  UNION ALL
  SELECT 'table', format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', rel, a.attname,
                         CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> t.typstorage
  UNION ALL
  (SELECT 'index', decan.index_statement(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = rel ORDER BY i.indisprimary DESC, c.relname)
  UNION ALL
  SELECT 'index', format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', i.indexrelid::regclass, a.attnum, a.attstattarget)
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid WHERE i.indrelid = rel AND a.attstattarget >= 0
  UNION ALL
  (SELECT 'foreign', format('ALTER TABLE %s ADD CONSTRAINT %I %s', rel, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_constraint k WHERE k.conrelid = rel AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname)
  UNION ALL
  SELECT 'finish', format('ALTER TABLE %s ADD CONSTRAINT %I %s', rel, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_constraint k WHERE k.conrelid = rel AND k.contype = 'c' AND NOT k.convalidated
  UNION ALL
  SELECT 'finish', format('ALTER SEQUENCE %s OWNED BY %s.%I', s.seqid::regclass, rel, s.attname)
    FROM decan.column_sequences(rel) s WHERE s.kind = 'o'
  UNION ALL
  SELECT 'finish', decan.column_settings(rel)
  UNION ALL
  (SELECT 'finish', pg_get_triggerdef(t.oid) FROM pg_trigger t
    WHERE t.tgrelid = rel AND NOT t.tgisinternal AND t.tgparentid = 0 ORDER BY t.tgname)
  UNION ALL
  SELECT 'finish', format('ALTER TABLE %s %s TRIGGER %I', rel,
                          CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)
    FROM pg_trigger t WHERE t.tgrelid = rel AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'O'
  UNION ALL
  SELECT 'finish', pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s WHERE s.stxrelid = rel
  UNION ALL
  SELECT 'finish', format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, s.stxname, s.stxstattarget)
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = rel AND s.stxstattarget >= 0
  UNION ALL
  SELECT 'finish', decan.policy_statement(p.oid) FROM pg_policy p WHERE p.polrelid = rel
  UNION ALL
  SELECT 'finish', format('ALTER TABLE %s %s ROW LEVEL SECURITY', rel, w.word)
    FROM pg_class c, LATERAL (VALUES ('ENABLE', c.relrowsecurity), ('FORCE', c.relforcerowsecurity)) w(word, wanted)
   WHERE c.oid = rel AND w.wanted
  UNION ALL
  SELECT 'finish', format('ALTER TABLE %s REPLICA IDENTITY %s', rel,
                          CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
                          ELSE (SELECT format('USING INDEX %I', x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                                 WHERE i.indrelid = rel AND i.indisreplident) END)
    FROM pg_class c WHERE c.oid = rel AND c.relreplident <> 'd'
  UNION ALL
  SELECT 'finish', decan.comment_statements(rel)
  UNION ALL
  SELECT 'finish', format('SELECT decan.set_acl(%L, %L)', c.oid::regclass, c.relacl)
    FROM pg_class c WHERE c.oid = rel OR c.oid IN (SELECT s.seqid FROM decan.column_sequences(rel) s WHERE s.kind <> 'n')
  UNION ALL
  SELECT 'finish', format('SELECT decan.set_column_acl(%L, %L, %L)', rel, a.attname, a.attacl)
    FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL
$$;

-- Statements that turn the privileges `present` of an object into `wanted`. what: 'TABLE x', 'SEQUENCE x'; column: '' or '(c)'.
CREATE OR REPLACE FUNCTION decan.acl_statements(what text, column_part text, present aclitem[], wanted aclitem[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH p AS (SELECT grantee, privilege_type, bool_or(is_grantable) g FROM aclexplode(CASE WHEN cardinality(present) > 0 THEN present END) GROUP BY 1, 2),
       w AS (SELECT grantee, privilege_type, bool_or(is_grantable) g FROM aclexplode(CASE WHEN cardinality(wanted) > 0 THEN wanted END) GROUP BY 1, 2)
  (SELECT format('REVOKE %s%s ON %s FROM %s CASCADE', privilege_type, column_part, what,
                 CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
     FROM (SELECT * FROM p EXCEPT SELECT * FROM w) r ORDER BY grantee)
  UNION ALL
  (SELECT format('GRANT %s%s ON %s TO %s%s', privilege_type, column_part, what,
                 CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                 CASE WHEN g THEN ' WITH GRANT OPTION' ELSE '' END)
     FROM (SELECT * FROM w EXCEPT SELECT * FROM p) r ORDER BY grantee)
$$;

-- The owner always holds every grant option implicitly, which the stored items do not say: it is left out of the comparison.
CREATE OR REPLACE FUNCTION decan.set_acl(rel regclass, wanted aclitem[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c pg_class;
  statement text;
BEGIN
  SELECT * INTO c FROM pg_class WHERE oid = rel;
  FOR statement IN SELECT decan.acl_statements(
      CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || rel, '',
      coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)),
      coalesce(wanted, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) LOOP
    EXECUTE statement;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION decan.set_column_acl(rel regclass, col name, wanted aclitem[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  statement text;
BEGIN
  FOR statement IN SELECT decan.acl_statements('TABLE ' || rel, format('(%I)', col), a.attacl, wanted)
                     FROM pg_attribute a WHERE a.attrelid = rel AND a.attname = col LOOP
    EXECUTE statement;
  END LOOP;
END $$;
