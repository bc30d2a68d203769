// Makes a server a storage unit: gives it what the others have. Everything is done under locks on the home
// unit that DDL and writes to broadcast tables wait for; nothing of it is seen before commit().
#pragma once

#include <string>
#include <vector>

#include "attach/definitions.h"
#include "attach/server.h"

namespace decan::attach {

// Locks on the home unit, of every database: DDL that runs on all units, changes of the placement and writes
// to broadcast tables wait until they are gone.
class HomeLocks {
 public:
  explicit HomeLocks(Ground& ground) : ground_(ground) {}
  struct Database {
    std::string name;
    backend::UnitConnectionPtr home;                             // in the transaction that holds the locks
    std::vector<std::pair<std::string, std::string>> broadcast;  // table and columns
  };
  // Errors: 55P03 when others hold theirs for too long.
  async::Task<Status> take();
  async::Task<Status> commit();
  void release() { databases_.clear(); }  // rolls back
  std::vector<Database>& databases() { return databases_; }

 private:
  async::Task<Status> lock(Database& database);
  Ground& ground_;
  std::vector<Database> databases_;
};

class Join {
 public:
  // `record`: as check_server() gave it, with its ordinal. `ground` outlives the object.
  // `locks`: taken.
  Join(Ground& ground, HomeLocks& locks, meta::UnitRecord record)
      : ground_(ground), locks_(locks), record_(std::move(record)) {}

  // Roles, databases, definitions, placement, rows of broadcast tables. Errors: 42710 for objects that both
  // have, 55000, the server's own with the statement in the detail; undo() then.
  async::Task<Status> prepare();
  // On the new unit first, then on home; the locks are gone afterwards.
  async::Task<Status> commit();
  // Rolls back, and drops databases that prepare() has made.
  async::Task<void> undo();

 private:
  struct Database {
    HomeLocks::Database* locked = nullptr;
    backend::UnitConnectionPtr unit = nullptr;
    bool made = false;
    backend::UnitConnection& home() const { return *locked->home; }
    const std::string& name() const { return locked->name; }
  };
  async::Task<Status> prepare_server();
  async::Task<Status> make_database(Database& database, backend::UnitConnection& maintenance);
  async::Task<Status> clear_leftovers(Database& database);
  async::Task<Status> check_clashes(Database& database);
  async::Task<Result<Definitions>> definitions(Database& database);
  async::Task<Status> build(Database& database);
  async::Task<Status> install_in_template();
  std::string identity(std::string_view epoch) const;
  Error explained(Error error, const std::string& database) const;

  Ground& ground_;
  HomeLocks& locks_;
  meta::UnitRecord record_;
  std::vector<Database> databases_;
  backend::UnitConnectionPtr template_;
};

// Reads definitions (see read_definitions()) while the loop goes on.
async::Task<Result<Definitions>> definitions_of(Ground& ground, meta::UnitRecord unit, std::string database,
                                                LeftOut left_out);

// Runs statements one by one; an error tells which one it was.
async::Task<Status> run_each(backend::UnitConnection& connection, std::vector<std::string> statements);

// Takes away what a server held as a unit of this cluster. `record`: the unit, not registered any more (or
// not yet). Gives what could not be dropped, because other things depend on it.
async::Task<Result<std::vector<std::string>>> leave(Ground& ground, meta::UnitRecord record);

}  // namespace decan::attach
