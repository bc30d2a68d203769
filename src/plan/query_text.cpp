// The texts that units get: leaves named, or the epoch check added.
#include <algorithm>

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

// Naming the leaf must not change anything but the place that is read or written (architecture.md, placement).
bool QueryPlanner::leaves_possible() const {
  if (survey_.sharded.empty() || survey_.system_column == "tableoid" || survey_.whole_row) return false;
  if (survey_.qualified_by_schema || survey_.current_of || query_.kind == sql::QueryKind::kMerge) return false;
  for (const Source* source : survey_.sharded) {
    const auto same = [&](const Source* other) { return other->relation == source->relation; };
    if (std::ranges::count_if(survey_.sharded, same) != 1) return false;
    if (!source->relation->leaf_addressable || source->ref->only || source->ref->location < 0) return false;
    if (source->relation->leaf_names.size() != source->relation->group->buckets.size()) return false;
    if (source->relation->leaf_names.empty()) return false;
  }
  if (query_.kind == sql::QueryKind::kInsert) {
    if (query_.conflict_on_constraint) return false;
    const auto& relation = *survey_.write_target->relation;
    for (size_t i = 0; i < relation.columns.size(); ++i) {
      if (!relation.columns[i].is_identity) continue;
      // Leaves do not inherit identity: the column must be given (and not by DEFAULT, which insert_values() refuses).
      const bool given = query_.columns.empty()
                             ? query_.source != nullptr
                             : std::ranges::find(query_.columns, relation.columns[i].name, &sql::Target::name) !=
                                   query_.columns.end();
      if (!given || query_.source == nullptr) return false;
    }
  }
  return true;
}

void QueryPlanner::make_leaf_text(Plan& out) {
  if (!leaves_possible()) return;
  std::vector<const Source*> sources = survey_.sharded;
  std::ranges::sort(sources, {}, [](const Source* s) { return s->ref->location; });
  TextBuilder builder(source_, {source_.base(), input_.statement.end});
  for (const Source* source : sources) {
    const sql::Range name = sql::name_range(source_.sql(), source->ref->location, context_.standard_conforming_strings);
    if (name.empty()) return;
    builder.copy_to(name.begin);
    builder.add_leaf(source->relation);
    builder.skip_to(name.end);
    if (source->ref->alias.empty()) builder.add(" AS " + sql::quote_identifier(source->ref->name));
  }
  Text text = builder.finish();
  // Proof, on the statement at hand and the first bucket: the text still parses to the same tree.
  if (sources.size() == 1) {
    const auto [schema, name] = split_leaf_name(sources[0]->relation->leaf_names[0]);
    const std::string rendered = render_text(text, own_text(), source_.tpl(), BucketId{0});
    if (!sql::equal_but_leaf(own_text(), rendered, *sources[0]->ref, schema, name)) return;
  }
  out.leaf_text = std::move(text);
}

void QueryPlanner::add_guards(TextBuilder& builder, const sql::QueryLayout& layout) const {
  const std::string guard = guard_conjunct(snapshot_.epoch);
  for (const sql::SelectLayout& select : layout.selects) {
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
  if (!sql::equal_but_guards(own_text(), rendered, found->selects.size())) return false;
  out.whole_text = std::move(text);
  out.guarded_sql = std::move(rendered);
  return true;
}

}  // namespace decan::plan
