#include <string>
#include <string_view>

#include "catalog/loader.h"
#include "catalog/unit_objects.h"

namespace decan::catalog {
namespace {

// Order and columns are those that loader.cpp reads.
constexpr const char* kQuery = R"sql(
SELECT d.oid, d.datname, (d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')), m.epoch
  FROM pg_catalog.pg_database d, decan.map m WHERE d.datname = pg_catalog.current_database();

SELECT id, algorithm, pg_catalog.array_to_string(key_types, ' ') FROM decan.shard_group ORDER BY id;

SELECT group_id, bucket, unit, modulus, remainder,
       (SELECT pg_catalog.string_agg(coalesce(pg_catalog.encode(v, 'hex'), '-') || ',', '' ORDER BY n)
          FROM pg_catalog.unnest(lower_bin) WITH ORDINALITY u(v, n)),
       (SELECT pg_catalog.string_agg(coalesce(pg_catalog.encode(v, 'hex'), '-') || ',', '' ORDER BY n)
          FROM pg_catalog.unnest(upper_bin) WITH ORDINALITY u(v, n)),
       (SELECT pg_catalog.string_agg(pg_catalog.encode(v, 'hex') || ',', '' ORDER BY n)
          FROM pg_catalog.unnest(list_bin) WITH ORDINALITY u(v, n)),
       accepts_null, is_default
  FROM decan.bucket ORDER BY group_id, bucket;

SELECT c.oid, n.nspname, c.relname, c.relkind, coalesce(r.placement, t.placement, 'single'), r.group_id, e.unit, r.leaf_prefix,
       c.relrowsecurity, p.partattrs,
       c.relname LIKE 'pg\_%' AND EXISTS (SELECT FROM pg_catalog.pg_class s
                                           WHERE s.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND s.relname = c.relname)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN decan.relation r ON r.relid = c.oid
  LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = r.relid
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  LEFT JOIN decan.relation t ON t.relid = i.indrelid
  LEFT JOIN decan.elsewhere() e ON e.relid = c.oid
 WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c', 'i', 'I')
   AND n.nspname NOT IN ('decan', 'decan_shard', 'pg_toast') AND n.nspname NOT LIKE 'pg\_temp\_%' AND n.nspname NOT LIKE 'pg\_toast\_temp\_%';

SELECT t.tgrelid, pg_catalog.bool_or(t.tgtype & 1 = 1), pg_catalog.bool_or(t.tgtype & 1 = 0),
       pg_catalog.string_agg(DISTINCT t.tgfoid::pg_catalog.text, ' ')
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'decan_shard' GROUP BY t.tgrelid;

SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attcollation,
       coalesce(c.collprovider = 'c' AND c.collisdeterministic AND c.collcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')
                OR c.collprovider = 'd' AND d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8'), false),
       a.attnotnull, e.sql IS NOT NULL OR a.attidentity <> '', a.attidentity <> '', a.attgenerated <> '', coalesce(e.sql, ''),
       a.attidentity <> '' OR coalesce(e.tree ~ '(SQLVALUEFUNCTION|NEXTVALUEEXPR|COERCEVIAIO)', false)
       OR EXISTS (SELECT FROM pg_catalog.regexp_matches(e.tree, ':(?:op)?funcid (\d+)', 'g') f
                    JOIN pg_catalog.pg_proc p ON p.oid = f[1]::pg_catalog.oid WHERE p.provolatile <> 'i')
  FROM pg_catalog.unnest(ARRAY(SELECT relid FROM decan.relation)) r(relid)  -- an array counts as ten rows, not hundreds
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.relid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
  LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd'
  CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.pg_get_expr(ad.adbin, ad.adrelid), pg_catalog.pg_get_expr(t.typdefaultbin, 0)),
                             coalesce(ad.adbin, t.typdefaultbin)::pg_catalog.text) e(sql, tree)
 ORDER BY a.attrelid, a.attnum;

SELECT i.indrelid, c.relname, pg_catalog.substr(pg_catalog.md5(c.relname), 1, 8),
       i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL,
       pg_catalog.array_to_string((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1], ' ')
  FROM decan.relation r JOIN pg_catalog.pg_index i ON i.indrelid = r.relid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 ORDER BY i.indrelid, c.relname;

WITH RECURSIVE k(oid, conname, conrelid, top) AS (
  SELECT c.oid, c.conname, c.conrelid, c.conname FROM pg_catalog.pg_constraint c JOIN decan.relation r ON r.relid = c.conrelid
   WHERE c.contype = 'f' AND c.conparentid = 0 AND r.placement = 'sharded'
  UNION ALL
  SELECT c.oid, c.conname, k.conrelid, k.top FROM pg_catalog.pg_constraint c JOIN k ON c.conparentid = k.oid
)
SELECT DISTINCT conrelid, pg_catalog.regexp_replace(conname, '\d+$', ''), top FROM k WHERE conname <> top;

SELECT p.oid, n.nspname, p.proname, p.provolatile = 'v',
       CASE WHEN l.lanname NOT IN ('c', 'internal') THEN p.prosrc END,
       CASE WHEN 'decan.dynamic_sql=local' = ANY (p.proconfig) THEN false
            WHEN l.lanname = 'c' THEN p.prosrc IN ('crosstab', 'crosstab_hash', 'connectby_text', 'connectby_text_serial', 'xpath_table')
            WHEN l.lanname = 'internal' THEN false
            ELSE p.prosrc ~* '\m((query|table|schema|database)_to_xml(_and_xmlschema)?|ts_stat|ts_rewrite)\M'
              OR l.lanname <> 'sql' AND p.prosrc ~* '\m(execute\M(?!\s*(e?''([^'']|'''')*''\s*(;|into\M|using\M|loop\M)|function\M|procedure\M|on\M))|spi_(exec|query|prepare)\w*)' END,
       p.prokind = 'f' AND p.provolatile = 'i',
       l.lanname NOT IN ('c', 'internal') AND
         p.prosrc ~* '(^|;|["''$(]|\y(begin|then|else|loop|atomic|do|perform|execute)\y|--[^\n]*\n|\*/)\s*(set|reset|discard|load)\s|\y(set_config|temp|temporary|pg_temp|with\s+hold|pg_(try_)?advisory_lock\w*)\y'
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= 16384 AND n.nspname <> 'decan' ORDER BY p.oid;

-- What views, rules and functions use. Operators and types that are built in run nothing of a user's.
SELECT DISTINCT 'r', r.ev_class, r.ev_type <> '1', @kind@, d.refobjid
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
 WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid >= 16384 AND r.ev_class >= 16384
   AND (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class OR @code@)
UNION ALL
SELECT DISTINCT 'f', d.objid, false, @kind@, d.refobjid
  FROM pg_catalog.pg_depend d
 WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid >= 16384
   AND (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass OR @code@);

-- What else uses a user's functions, operators, operator classes and types: found from these, which are few. Between
-- a type and its array, or a view and its rule, the dependency is an internal one.
WITH used AS MATERIALIZED (
  SELECT d.classid, d.objid, @kind@ AS kind, d.refobjid
    FROM pg_catalog.pg_depend d
   WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
                          'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_opclass'::pg_catalog.regclass)
     AND d.refobjid >= 16384 AND d.deptype <> 'i'
     AND d.classid IN ('pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_attrdef'::pg_catalog.regclass,
                       'pg_catalog.pg_constraint'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass,
                       'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)
)
SELECT 'r', t.tgrelid, 'code', d.kind, d.refobjid
  FROM used d JOIN pg_catalog.pg_trigger t ON t.oid = d.objid
 WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND NOT t.tgisinternal
UNION
SELECT 'r', a.adrelid, 'code', d.kind, d.refobjid
  FROM used d JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
UNION
SELECT CASE k.conrelid WHEN 0 THEN 't' ELSE 'r' END, CASE k.conrelid WHEN 0 THEN k.contypid ELSE k.conrelid END, 'code', d.kind, d.refobjid
  FROM used d JOIN pg_catalog.pg_constraint k ON k.oid = d.objid WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
UNION
SELECT 'r', p.polrelid, 'policy', d.kind, d.refobjid
  FROM used d JOIN pg_catalog.pg_policy p ON p.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
 WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND c.relrowsecurity
UNION
SELECT 'r', coalesce(i.indrelid, d.objid), CASE WHEN d.kind = 't' AND i.indrelid IS NULL THEN 'column' ELSE 'code' END, d.kind, d.refobjid
  FROM used d LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = d.objid
 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
UNION
SELECT 't', y.oid, 'code', d.kind, d.refobjid
  FROM used d JOIN pg_catalog.pg_type y ON y.oid = d.objid AND y.typtype IN ('d', 'r')
 WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
UNION
SELECT 'r', a.attrelid, 'column', 't', a.atttypid  -- a cast to a composite type casts its fields
  FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_proc p ON p.oid = k.castfunc AND p.prolang NOT IN (12, 13)
  JOIN pg_catalog.pg_attribute a ON a.atttypid = k.casttarget AND a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
 WHERE k.castfunc >= 16384 AND k.casttarget < 16384
UNION ALL
SELECT 'r', k.confrelid, 'cascade', 'r', k.conrelid
  FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
UNION ALL
SELECT 'r', i.inhparent, 'cascade', 'r', i.inhrelid
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')
 WHERE c.relnamespace <> 'decan_shard'::pg_catalog.regnamespace;

WITH RECURSIVE reader(oid) AS (
  SELECT relid FROM decan.relation WHERE placement = 'broadcast'
  UNION
  SELECT w.ev_class FROM reader b
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = b.oid
     AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
)
SELECT DISTINCT r.ev_class
  FROM reader v JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid,
       pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, ':relid (\d+)', 'g') m
 WHERE m[1]::pg_catalog.int8 BETWEEN 1 AND 16383;

SELECT k.conrelid, pg_catalog.min(c.relname)
  FROM pg_catalog.pg_constraint k JOIN decan.relation r ON r.relid = k.confrelid AND r.placement = 'sharded'
  JOIN pg_catalog.pg_class c ON c.oid = k.confrelid LEFT JOIN decan.relation child ON child.relid = k.conrelid
 WHERE k.contype = 'f' AND child.relid IS NULL GROUP BY k.conrelid;

-- Languages 12 and 13 are internal and C, whose functions read no tables.
SELECT 'operator', n.nspname, o.oprname, o.oid, o.oprcode::pg_catalog.oid
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oprcode::pg_catalog.oid >= 16384
UNION ALL
SELECT 'cast', n.nspname, y.typname, y.oid, k.castfunc
  FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_type t ON t.oid = k.casttarget
  JOIN pg_catalog.pg_type y ON y.oid = ANY (ARRAY[t.oid, CASE t.typcategory WHEN 'A' THEN t.typelem END])
  JOIN pg_catalog.pg_namespace n ON n.oid = y.typnamespace
 WHERE k.castfunc >= 16384
UNION ALL
SELECT CASE WHEN castsource < 16384 AND casttarget < 16384 THEN 'any cast' WHEN castcontext = 'a' THEN 'assignment' ELSE 'values' END,
       '', '', CASE WHEN castsource >= 16384 THEN castsource ELSE casttarget END, castfunc
  FROM pg_catalog.pg_cast WHERE castfunc >= 16384 AND castcontext <> 'e'
UNION ALL
SELECT CASE WHEN f.of_class THEN 'class' WHEN c.opcintype >= 16384 THEN 'values' ELSE 'any cast' END,
       '', '', CASE WHEN f.of_class THEN c.oid ELSE c.opcintype END, f.func
  FROM (SELECT s.amprocfamily, s.amproc::pg_catalog.oid FROM pg_catalog.pg_amproc s WHERE s.amproc::pg_catalog.oid >= 16384
        UNION
        SELECT s.amopfamily, o.oprcode::pg_catalog.oid
          FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_amop s ON s.amopopr = o.oid WHERE o.oprcode::pg_catalog.oid >= 16384) m(family, func)
  JOIN pg_catalog.pg_proc p ON p.oid = m.func AND p.prolang NOT IN (12, 13)
  JOIN pg_catalog.pg_opclass c ON c.opcfamily = m.family
  JOIN LATERAL (VALUES (true, m.func), (false, m.func)) f(of_class, func) ON f.of_class OR c.opcdefault AND c.opcmethod IN (403, 405)
UNION ALL
SELECT 'attribute', n.nspname, p.proname, NULL, p.oid
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_type y ON y.oid = p.proargtypes[0]
 WHERE p.oid >= 16384 AND p.pronargs - p.pronargdefaults <= 1 AND y.typtype IN ('c', 'd', 'p') AND n.nspname <> 'decan';

-- Functions by OID: nextval, currval, setval, lastval and any of a user's; set_config, pg_advisory_lock and its like.
-- Leaves and what calls nothing are left out before patterns are matched, which is slow.
SELECT o.relid, o.tree ~ ':(?:op)?funcid (1574|1575|1576|1765|2559|\d{5,}) ' OR o.tree = 'identity',
       o.tree ~ ':(?:op)?funcid (2078|288[0-3]|288[6-9]) '
  FROM (SELECT t.relid, t.tree
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          JOIN (SELECT d.adrelid, d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d
                UNION ALL SELECT a.attrelid, 'identity' FROM pg_catalog.pg_attribute a WHERE a.attidentity <> ''
                UNION ALL SELECT r.ev_class, r.ev_action::pg_catalog.text FROM pg_catalog.pg_rewrite r) t(relid, tree) ON t.relid = c.oid
         WHERE c.oid >= 16384 AND n.nspname NOT IN ('decan', 'decan_shard') OFFSET 0) o
 WHERE o.tree = 'identity' OR o.tree LIKE '%funcid %' AND o.tree ~ ':(?:op)?funcid (1574|1575|1576|1765|2559|2078|288[0-3]|288[6-9]|\d{5,}) '
)sql";

// Of the row `d` of pg_depend: what it refers to, and whether that may be a user's code.
constexpr std::string_view kKind =
    R"sql(CASE d.refclassid WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'r' WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'f'
            WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN 'o' WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass THEN 'c' ELSE 't' END)sql";
constexpr std::string_view kCode = R"sql(d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        OR d.refclassid IN ('pg_catalog.pg_operator'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass) AND d.refobjid >= 16384)sql";

void replace_all(std::string& text, std::string_view mark, std::string_view by) {
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + by.size()))
    text.replace(at, mark.size(), by);
}

}  // namespace

std::string snapshot_query() {
  std::string query = kQuery + (";" + types_query());
  replace_all(query, "@kind@", kKind);
  replace_all(query, "@code@", kCode);
  return query;
}

}  // namespace decan::catalog
