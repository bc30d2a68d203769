// The texts that units get: leaves named, or the epoch check added.
#include <algorithm>

#include "base/quote.h"
#include "plan/catalog_views.h"
#include "plan/query_planner.h"

namespace decan::plan {
namespace {

std::string_view unquoted(std::string_view name) {
  return name.size() >= 2 && name.front() == '"' ? name.substr(1, name.size() - 2) : name;
}

// decan_shard.orders_16402_7 -> schema and name; quotes with quotes inside do not occur in leaf names.
std::pair<std::string, std::string> split_leaf_name(std::string_view full) {
  const size_t dot = full.find('.');
  if (dot == std::string_view::npos) return {"", std::string(unquoted(full))};
  return {std::string(unquoted(full.substr(0, dot))), std::string(unquoted(full.substr(dot + 1)))};
}

}  // namespace

std::string guard_conjunct(int64_t epoch) {
  // Qualified throughout: a search_path of the client's can not put other meanings in its way.
  return "(SELECT 1 OPERATOR(pg_catalog./) (m.epoch OPERATOR(pg_catalog.=) " + std::to_string(epoch) +
         ")::pg_catalog.int4 OPERATOR(pg_catalog.=) 1 FROM decan.map m)";
}

const sql::QueryLayout* QueryPlanner::layout() {
  if (!layout_tried_) {
    layout_tried_ = true;
    layout_ = sql::layout_of(source_.sql(), input_.range, query_, context_.standard_conforming_strings);
  }
  return layout_ ? &*layout_ : nullptr;
}

std::string_view QueryPlanner::own_text() const {
  return source_.sql().substr(source_.base(), input_.statement.end - source_.base());
}

// Naming the leaf must not change anything but the place that is read or written (architecture.md,
// placement).
bool QueryPlanner::leaves_possible() const {
  if (survey_.sharded.empty() || survey_.whole_row) return false;
  if (survey_.qualified_by_schema || survey_.current_of || query_.kind == sql::QueryKind::kMerge)
    return false;
  for (const Source* source : survey_.sharded) {
    const auto same = [&](const Source* other) { return other->relation == source->relation; };
    if (std::ranges::count_if(survey_.sharded, same) != 1) return false;
    if (!source->relation->leaf_addressable || source->ref->location < 0) return false;
    if (source->relation->leaf_names.size() != source->relation->group->buckets.size()) return false;
    if (source->relation->leaf_names.empty()) return false;
  }
  return !(query_.kind == sql::QueryKind::kInsert && query_.conflict_on_constraint) && !touches_identity();
}

// Leaves do not inherit identity: neither its values nor the ban on writing others.
bool QueryPlanner::touches_identity() const {
  for (const Source* source : survey_.sharded) {
    if (!source->is_write_target) continue;
    const sql::Query& query = *source->level->query;
    for (const catalog::Column& column : source->relation->columns) {
      if (!column.is_identity) continue;
      const auto sets = [&](const std::vector<sql::Target>& list) {
        return std::ranges::find(list, column.name, &sql::Target::name) != list.end();
      };
      if (query.kind == sql::QueryKind::kInsert || sets(query.targets) || sets(query.conflict_set))
        return true;
    }
  }
  return false;
}

void QueryPlanner::make_leaf_text(Plan& out) {
  if (!leaves_possible()) return;
  std::vector<const Source*> sources = survey_.sharded;
  std::ranges::sort(sources, {}, [](const Source* s) { return s->ref->location; });
  TextBuilder builder(source_, {source_.base(), input_.statement.end});
  for (const Source* source : sources) {
    const sql::Range name =
        sql::name_range(source_.sql(), source->ref->location, context_.standard_conforming_strings);
    if (name.empty()) return;
    builder.copy_to(name.begin);
    builder.add_leaf(source->relation);
    builder.skip_to(name.end);
    if (source->ref->alias.empty()) builder.add(" AS " + quote_identifier(source->ref->name));
  }
  Text text = builder.finish();
  // Proof, on the statement at hand and the first bucket: the text still parses to the same tree.
  std::vector<sql::RewriteProof::LeafName> leaves;
  for (const Source* source : sources) {
    auto [schema, name] = split_leaf_name(source->relation->leaf_names[0]);
    leaves.push_back({source->ref, std::move(schema), std::move(name)});
  }
  if (!proof_.equal_but_leaves(render_text(text, own_text(), source_.tpl(), BucketId{0}), leaves)) return;
  out.leaf_text = std::move(text);
}

void QueryPlanner::add_guards(TextBuilder& builder, const sql::QueryLayout& layout) const {
  const std::string guard = guard_conjunct(snapshot_.epoch);
  for (const sql::SelectLayout& select : layout.selects) {
    if (!select.table_keyword.empty()) {
      builder.copy_to(select.table_keyword.begin);
      builder.add("SELECT * FROM");
      builder.skip_to(select.table_keyword.end);
    }
    if (select.where) {
      builder.copy_to(select.where->begin);
      builder.add(guard + " AND (");
      builder.copy_to(select.where->end);
      builder.add(")");
    } else {
      builder.copy_to(select.where_place);
      builder.add(" WHERE " + guard);
    }
  }
}

// Adds the epoch check to every leg that has a WHERE or a place for one.
bool QueryPlanner::make_whole_text(Plan& out) {
  const sql::QueryLayout* found = layout();
  if (found == nullptr || found->selects.empty()) return false;
  TextBuilder builder(source_, {source_.base(), input_.statement.end});
  add_guards(builder, *found);
  Text text = builder.finish();
  std::string rendered = render_text(text, own_text(), source_.tpl(), std::nullopt);
  if (!proof_.equal_but_guards(rendered, found->selects.size())) return false;
  out.whole_text = std::move(text);
  out.guarded_sql = std::move(rendered);
  return true;
}

std::string QueryPlanner::system_schema(const Source& source) const {
  if (source.kind != Source::Kind::kRelation || source.relation != nullptr || source.is_temp) return "";
  const std::string& schema = source.ref->schema;
  if (schema == "pg_catalog" || schema == "information_schema") return schema;
  if (!schema.empty()) return "";
  if (source.ref->name.starts_with("pg_")) return "pg_catalog";
  const bool searched =
      std::ranges::find(context_.search_path, "information_schema") != context_.search_path.end();
  return searched ? "information_schema" : "";
}

bool QueryPlanner::names_star() const {
  bool found = false;
  for (const Level& level : scope_.levels()) {
    for (const sql::Expr* expr : expressions_of(*level.query))
      walk(expr, [&](const sql::Expr& node) {
        found = found || (node.kind == sql::ExprKind::kColumn && node.star);
      });
  }
  return found;
}

// System catalogs are read through sub-selects that show logical objects only (catalog_views.h). Where that
// would change what the statement means, it stays as it is.
void QueryPlanner::make_catalog_text(Plan& out) {
  if (survey_.whole_row || survey_.qualified_by_schema || survey_.locks_rows || survey_.samples) return;
  const bool system_columns = !survey_.system_column.empty();
  if (system_columns && names_star()) return;
  std::vector<const Source*> sources;
  for (const Source& source : scope_.sources()) {
    if (!source.is_write_target && !system_schema(source).empty() && source.ref->location >= 0 &&
        !source.ref->only)
      sources.push_back(&source);
  }
  std::ranges::sort(sources, {}, [](const Source* s) { return s->ref->location; });
  TextBuilder builder(source_, {source_.base(), input_.statement.end});
  std::vector<const sql::RelationRef*> replaced;
  for (const Source* source : sources) {
    const std::string alias = sql::RewriteProof::view_alias(replaced.size());
    const auto view = catalog_view(system_schema(*source), source->ref->name, alias, system_columns);
    if (!view) continue;
    const sql::Range name =
        sql::name_range(source_.sql(), source->ref->location, context_.standard_conforming_strings);
    if (name.empty()) return;
    builder.copy_to(name.begin);
    builder.add(*view);
    builder.skip_to(name.end);
    if (source->ref->alias.empty()) builder.add(" AS " + quote_identifier(source->ref->name));
    replaced.push_back(source->ref);
  }
  if (replaced.empty()) return;
  Text text = builder.finish();
  if (!proof_.equal_but_views(render_text(text, own_text(), source_.tpl(), std::nullopt), replaced)) return;
  out.whole_text = std::move(text);
}

}  // namespace decan::plan
