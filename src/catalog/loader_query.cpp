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
  FROM decan.relation r
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

WITH RECURSIVE @domain_code@
SELECT DISTINCT false, r.ev_class, code.is_code, code.oid
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
   AND (d.refclassid <> 'pg_catalog.pg_class'::pg_catalog.regclass OR d.refobjid <> r.ev_class)
  @code_of_dependency@
 WHERE r.ev_class >= 16384
UNION ALL
SELECT DISTINCT true, d.objid, code.is_code, code.oid
  FROM pg_catalog.pg_depend d
  @code_of_dependency@
 WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid >= 16384;

WITH RECURSIVE @domain_code@
SELECT o.relid, code.oid, 'd'
  FROM (SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, oid, tgrelid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, oid, adrelid FROM pg_catalog.pg_attrdef
        UNION ALL
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid, conrelid FROM pg_catalog.pg_constraint WHERE conrelid <> 0
        UNION ALL
        SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, oid, polrelid FROM pg_catalog.pg_policy
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, indexrelid, indrelid FROM pg_catalog.pg_index
        UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, oid, ev_class FROM pg_catalog.pg_rewrite WHERE ev_type <> '1') o(class, oid, relid)
  JOIN pg_catalog.pg_depend d ON d.classid = o.class AND d.objid = o.oid
  @code_of_dependency@
  JOIN pg_catalog.pg_class c ON c.oid = o.relid
 WHERE code.is_code AND code.oid >= 16384 AND c.relnamespace <> 'decan_shard'::pg_catalog.regnamespace
UNION
SELECT a.attrelid, t.func, t.how
  FROM domain_code t JOIN pg_catalog.pg_attribute a ON a.atttypid = t.typid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
 WHERE t.how <> 'c' AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace <> 'decan_shard'::pg_catalog.regnamespace
UNION
SELECT c.oid, t.func, t.how
  FROM domain_code t JOIN pg_catalog.pg_class c ON c.reltype = t.typid
 WHERE t.how IN ('a', 'i') AND c.relnamespace <> 'decan_shard'::pg_catalog.regnamespace;

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

WITH RECURSIVE @domain_code@
SELECT 'operator', n.nspname, o.oprname, NULL::pg_catalog.oid, o.oprcode::pg_catalog.oid
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oprcode::pg_catalog.oid >= 16384
UNION
SELECT CASE t.how WHEN 'c' THEN 'cast' ELSE 'type' END, n.nspname, y.typname, y.oid, t.func
  FROM domain_code t JOIN pg_catalog.pg_type y ON y.oid = t.typid JOIN pg_catalog.pg_namespace n ON n.oid = y.typnamespace
 WHERE n.nspname <> 'decan_shard'
UNION
SELECT 'any cast', '', '', NULL, castfunc FROM pg_catalog.pg_cast
 WHERE castfunc >= 16384 AND castcontext <> 'e' AND castsource < 16384 AND casttarget < 16384
UNION
SELECT 'attribute', n.nspname, p.proname, NULL, p.oid
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_type y ON y.oid = p.proargtypes[0]
 WHERE p.oid >= 16384 AND p.pronargs - p.pronargdefaults <= 1 AND y.typtype IN ('c', 'd', 'p') AND n.nspname <> 'decan';

-- Functions by OID: nextval, currval, setval, lastval and any of a user's; set_config, pg_advisory_lock and its like.
SELECT o.relid, o.tree ~ ':(?:op)?funcid (1574|1575|1576|1765|2559|\d{5,}) ' OR o.tree = 'identity',
       o.tree ~ ':(?:op)?funcid (2078|288[0-3]|288[6-9]) '
  FROM (SELECT d.adrelid, d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d
        UNION ALL SELECT a.attrelid, 'identity' FROM pg_catalog.pg_attribute a WHERE a.attidentity <> ''
        UNION ALL SELECT r.ev_class, r.ev_action::pg_catalog.text FROM pg_catalog.pg_rewrite r) o(relid, tree)
  JOIN pg_catalog.pg_class c ON c.oid = o.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE o.relid >= 16384 AND n.nspname NOT IN ('decan', 'decan_shard')
   AND (o.tree = 'identity' OR o.tree ~ ':(?:op)?funcid (1574|1575|1576|1765|2559|2078|288[0-3]|288[6-9]|\d{5,}) ')
)sql";

// Which functions of users the use of a type runs. `how`: 'd' the checks and defaults of domains, in other
// types too; 'i', 'a' an implicit or assignment cast from or to it, one of whose types has to be at hand for
// that; 'c' any cast to it. A column, an element and a domain use their type.
constexpr std::string_view kDomainCode = R"sql(type_part(class, oid, typid) AS (
  SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid, contypid FROM pg_catalog.pg_constraint WHERE contypid <> 0
  UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, oid FROM pg_catalog.pg_type WHERE typtype IN ('d', 'r')
), type_use(typid, used) AS (
  SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'
  UNION ALL SELECT oid, typelem FROM pg_catalog.pg_type WHERE typcategory = 'A' AND typelem >= 16384
  UNION ALL SELECT rngtypid, rngsubtype FROM pg_catalog.pg_range WHERE rngsubtype >= 16384
  UNION ALL SELECT rngmultitypid, rngtypid FROM pg_catalog.pg_range WHERE rngtypid >= 16384
  UNION ALL SELECT c.reltype, a.atttypid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
             WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384 AND c.reltype <> 0
  UNION ALL SELECT p.typid, d.refobjid FROM type_part p JOIN pg_catalog.pg_depend d ON d.classid = p.class AND d.objid = p.oid
              AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid <> p.typid
), domain_code(typid, func, how) AS (
  SELECT * FROM (
    SELECT p.typid, coalesce(o.oprcode::pg_catalog.oid, d.refobjid), 'd'
      FROM type_part p JOIN pg_catalog.pg_depend d ON d.classid = p.class AND d.objid = p.oid
       AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
      LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
    UNION ALL
    SELECT y.oid, k.castfunc, k.how
      FROM (SELECT casttarget, castfunc, 'c' FROM pg_catalog.pg_cast
            UNION ALL
            SELECT CASE WHEN castsource >= 16384 THEN castsource ELSE casttarget END, castfunc, castcontext::pg_catalog.text
              FROM pg_catalog.pg_cast WHERE castcontext <> 'e' AND (castsource >= 16384 OR casttarget >= 16384)) k(typid, castfunc, how)
      JOIN pg_catalog.pg_type t ON t.oid = k.typid
      JOIN pg_catalog.pg_type y ON y.oid = t.oid OR t.typcategory = 'A' AND y.oid = t.typelem
  ) direct(typid, func, how) WHERE func >= 16384
  UNION
  SELECT u.typid, c.func, c.how FROM domain_code c JOIN type_use u ON u.used = c.typid
))sql";

// What the row `d` of pg_depend refers to: a relation, or the code that the use of a function, an operator or
// a type runs.
constexpr std::string_view kCodeOfDependency =
    R"sql(LEFT JOIN pg_catalog.pg_operator op ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND op.oid = d.refobjid
  LEFT JOIN domain_code dc ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND dc.typid = d.refobjid AND dc.how <> 'c'
  JOIN LATERAL (SELECT d.refclassid <> 'pg_catalog.pg_class'::pg_catalog.regclass,
                       CASE WHEN d.refclassid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)
                            THEN d.refobjid ELSE coalesce(op.oprcode::pg_catalog.oid, dc.func) END) code(is_code, oid)
    ON d.refclassid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass) OR code.oid >= 16384)sql";

void replace_all(std::string& text, std::string_view mark, std::string_view by) {
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + by.size()))
    text.replace(at, mark.size(), by);
}

}  // namespace

std::string snapshot_query() {
  std::string query = kQuery + (";" + types_query());
  replace_all(query, "@domain_code@", kDomainCode);
  replace_all(query, "@code_of_dependency@", kCodeOfDependency);
  return query;
}

}  // namespace decan::catalog
