// A small catalog for the planner's tests: two units, a hash group of four buckets with customers, orders and
// items, a uuid group, broadcast and single tables, views and functions that hide sharded tables.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catalog/snapshot.h"
#include "catalog/type_oids.h"
#include "plan/planner.h"

namespace decan::plan::testing {

struct ColumnSpec {
  std::string name;
  Oid type;
  bool has_default = false;
};

class CatalogBuilder {
 public:
  CatalogBuilder() : snapshot_(std::make_shared<catalog::Snapshot>()) {
    snapshot_->version = 1;
    snapshot_->epoch = 17;
    snapshot_->database = "shop";
    snapshot_->units = {UnitId{0}, UnitId{1}};
    snapshot_->home = UnitId{0};
    snapshot_->database_oid = 5;
  }

  catalog::ShardGroup* group(std::vector<Oid> key_types, uint32_t buckets, uint32_t units = 2) {
    auto group = std::make_unique<catalog::ShardGroup>();
    group->id = GroupId{static_cast<uint32_t>(snapshot_->groups.size())};
    group->key_types = std::move(key_types);
    for (uint32_t i = 0; i < buckets; ++i) {
      catalog::Bucket bucket;
      bucket.unit = UnitId{i % units};
      bucket.modulus = buckets;
      bucket.remainder = i;
      group->buckets.push_back(bucket);
    }
    snapshot_->groups.push_back(std::move(group));
    return snapshot_->groups.back().get();
  }

  catalog::Relation& table(std::string name, std::vector<ColumnSpec> columns) {
    auto relation = std::make_unique<catalog::Relation>();
    relation->oid = next_oid_++;
    relation->schema = "public";
    relation->name = std::move(name);
    relation->unit = UnitId{0};
    for (auto& spec : columns) {
      catalog::Column column;
      column.name = std::move(spec.name);
      column.attnum = static_cast<int16_t>(relation->columns.size() + 1);
      column.type = spec.type;
      column.has_default = column.default_is_volatile = spec.has_default;
      if (column.type == catalog::type::kText) column.collation = 100;
      relation->columns.push_back(std::move(column));
    }
    catalog::Relation& out = *relation;
    snapshot_->add(std::move(relation));
    return out;
  }

  catalog::Relation& sharded(std::string name, const catalog::ShardGroup* group, std::vector<int16_t> key,
                             std::vector<ColumnSpec> columns) {
    catalog::Relation& relation = table(std::move(name), std::move(columns));
    relation.placement = catalog::Placement::kSharded;
    relation.group = group;
    relation.key_attnums = std::move(key);
    relation.leaf_addressable = true;
    for (size_t i = 0; i < group->buckets.size(); ++i)
      relation.leaf_names.push_back("decan_shard." + relation.name + "_" + std::to_string(i));
    return relation;
  }

  catalog::Relation& broadcast(std::string name, std::vector<ColumnSpec> columns) {
    catalog::Relation& relation = table(std::move(name), std::move(columns));
    relation.placement = catalog::Placement::kBroadcast;
    return relation;
  }

  catalog::Relation& single(std::string name, uint32_t unit) {
    catalog::Relation& relation = table(std::move(name), {});
    relation.unit = UnitId{unit};
    return relation;
  }

  catalog::Snapshot& snapshot() { return *snapshot_; }
  std::shared_ptr<catalog::Snapshot> finish() { return snapshot_; }

 private:
  std::shared_ptr<catalog::Snapshot> snapshot_;
  Oid next_oid_ = 20'000;
};

inline catalog::SnapshotPtr shop() {
  namespace type = catalog::type;
  CatalogBuilder builder;
  const auto* by_customer = builder.group({type::kInt8}, 4);
  const auto* by_uuid = builder.group({type::kUuid}, 4);
  const auto* by_pair = builder.group({type::kInt4, type::kText}, 4);
  const auto* by_day = builder.group({type::kDate}, 4);
  const auto* lonely = builder.group({type::kInt4}, 4, 1);
  builder.sharded("customers", by_customer, {1},
                  {{"customer_id", type::kInt8}, {"name", type::kText}, {"region", type::kText}});
  builder.sharded("orders", by_customer, {2},
                  {{"order_id", type::kInt8},
                   {"customer_id", type::kInt8},
                   {"total", type::kNumeric},
                   {"note", type::kText},
                   {"created", type::kTimestamptz}});
  builder.sharded(
      "items", by_customer, {2},
      {{"order_id", type::kInt8}, {"customer_id", type::kInt4}, {"sku", type::kText}, {"qty", type::kInt4}});
  builder.sharded("events", by_uuid, {1}, {{"id", type::kUuid}, {"body", type::kText}});
  builder.sharded("pairs", by_pair, {1, 2}, {{"a", type::kInt4}, {"b", type::kText}, {"v", type::kInt4}});
  builder.sharded("daily", by_day, {1}, {{"day", type::kDate}, {"n", type::kInt4}});
  builder.sharded("auto", by_customer, {1}, {{"id", type::kInt8, true}, {"v", type::kInt4}});
  builder.sharded("tiny", lonely, {1}, {{"id", type::kInt4}, {"v", type::kInt4}});
  builder.sharded("guarded", by_customer, {1}, {{"id", type::kInt8}, {"v", type::kInt4}}).leaf_addressable =
      false;
  builder.broadcast("countries", {{"code", type::kText}, {"label", type::kText}});
  builder.broadcast("rates", {{"id", type::kInt4, true}, {"rate", type::kNumeric}});
  builder.single("settings", 0);
  auto& watched = builder.single("watched", 0);
  watched.uses_sequences = watched.changes_session = true;
  builder.single("archive", 1);
  builder.single("new_lines", 0).waits_for = "orders";
  builder.single("order_seq", 0).kind = catalog::RelationKind::kSequence;
  auto& view = builder.single("all_orders", 0);
  view.kind = catalog::RelationKind::kView;
  view.hides_sharded = "orders";
  auto& plain_view = builder.single("country_names", 0);
  plain_view.kind = catalog::RelationKind::kView;
  plain_view.reads_only_broadcast = true;
  builder.snapshot().add_hidden_function({"public", "order_count", "orders"});
  using Kind = catalog::HiddenSpelling::Kind;
  builder.snapshot().add_hidden_spelling({Kind::kOperator, "public", "===", 0, "orders"});
  builder.snapshot().add_hidden_spelling({Kind::kType, "public", "known_order", 30'000, "orders"});
  builder.snapshot().add_hidden_spelling({Kind::kCast, "public", "mood", 30'001, "orders"});
  builder.snapshot().add_hidden_spelling({Kind::kCast, "pg_catalog", "int2", type::kInt2, "orders"});
  builder.snapshot().add_hidden_spelling({Kind::kAttribute, "public", "order_count", 0, "orders"});
  auto& checked = builder.single("checked", 0);
  checked.calls_hidden = "orders";
  builder.single("moods", 0).use_hidden = "orders";
  auto& assigned = builder.single("assigned", 0);
  assigned.use_hidden = "orders", assigned.use_hidden_in_writes_only = true;
  builder.snapshot().add_volatile_function("public", "touch");
  builder.snapshot().add_session_function("public", "tenant");
  return builder.finish();
}

inline Context context_of(catalog::SnapshotPtr snapshot) {
  Context context;
  context.catalog = std::move(snapshot);
  context.search_path = {"pg_catalog", "public"};
  context.role = "alice";
  return context;
}

}  // namespace decan::plan::testing
