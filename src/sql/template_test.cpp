#include "sql/template.h"

#include <gtest/gtest.h>
#include <pg_query.h>

#include <random>

#include "pg_query.pb.h"
#include "sql/lexer.h"

namespace decan::sql {
namespace {

Template scan(std::string_view sql, bool conforming = true) {
  Template out;
  scan_template(sql, conforming, out);
  return out;
}

std::string marker(LiteralKind kind) {
  return std::string(1, static_cast<char>(1 + static_cast<int>(kind)));
}
const std::string kInt = marker(LiteralKind::kInteger);
const std::string kNum = marker(LiteralKind::kNumeric);
const std::string kStr = marker(LiteralKind::kString);
const std::string kEsc = marker(LiteralKind::kEscape);
const std::string kOth = marker(LiteralKind::kOther);

struct Case {
  std::string sql, text;
};

TEST(Template, LiftsLiteralsAndKeepsEverythingElse) {
  const std::vector<Case> cases = {
      {"select 1", "select " + kInt},
      {"select -1, +2.5, 1e10, .5, 5., 1.e5",
       "select -" + kInt + ", +" + kNum + ", " + kNum + ", " + kNum + ", " + kNum + ", " + kNum},
      {"select 'a', 'it''s', e'\\'', E'x''y'", "select " + kStr + ", " + kStr + ", " + kEsc + ", " + kEsc},
      {"select b'01', X'1f', u&'d\\0061', n'x'", "select " + kOth + ", " + kOth + ", " + kOth + ", n" + kStr},
      {"select 'a'\n  'b', 'c' 'd'", "select " + kStr + ", " + kStr + " " + kStr},
      {"select 'a' -- it's\n 'b'", "select " + kStr},
      {"select \"1'\"\"2\", a1, $1, t1.c2, u&\"x'1\"", "select \"1'\"\"2\", a1, $1, t1.c2, u&\"x'1\""},
      {"/* 1 /* '2 */ 3 */ select 4 -- 5\n, 6", "/* 1 /* '2 */ 3 */ select " + kInt + " -- 5\n, " + kInt},
      {"select $$1'$$, $a$ $$ 2 $b$ $a$, 3", "select $$1'$$, $a$ $$ 2 $b$ $a$, " + kInt},
      {"select a$1, é1, 1..2", "select a$1, é1, " + kInt + ".." + kInt},
      {"select a[1:2], 3*-4, 5-6",
       "select a[" + kInt + ":" + kInt + "], " + kInt + "*-" + kInt + ", " + kInt + "-" + kInt},
      {"select 1--2", "select " + kInt + "--2"},
      {"select 1/*2*/*3", "select " + kInt + "/*2*/*" + kInt},
      {"select 'x'::text, int '5', 1::int", "select " + kStr + "::text, int " + kStr + ", " + kInt + "::int"},
      {"", ""},
  };
  for (const Case& c : cases) {
    const Template tpl = scan(c.sql);
    EXPECT_EQ(tpl.text, c.text) << c.sql;
    EXPECT_FALSE(tpl.exact) << c.sql;
  }
}

TEST(Template, KeepsTheWholeTextWhenItCanNotBeScanned) {
  for (const std::string_view sql :
       {"select 'a", "select \"a", "select 1 /* ", "select $$ 1", "select 1a", "select 1e", "select $1a",
        "select 1 \\ 2", "select $", "select 1 \x01", "select e'\\"}) {
    const Template tpl = scan(sql);
    EXPECT_TRUE(tpl.exact) << sql;
    EXPECT_EQ(tpl.text, sql);
    EXPECT_TRUE(tpl.literals.empty());
  }
}

TEST(Template, IsExactBeyondTheLiteralLimit) {
  std::string sql = "insert into t values (0";
  for (size_t i = 1; i < kMaxLiterals; ++i) sql += ",1";
  EXPECT_FALSE(scan(sql).exact);
  EXPECT_EQ(scan(sql).literals.size(), kMaxLiterals);
  sql += ",1";
  EXPECT_TRUE(scan(sql).exact);
  EXPECT_EQ(scan(sql).text, sql);
}

TEST(Template, BackslashesEscapeWhenStringsDoNotConform) {
  const std::string sql = "select 'a\\'b', 'c'";
  EXPECT_EQ(scan(sql, false).text, "select " + kEsc + ", " + kEsc);
  EXPECT_TRUE(scan(sql, true).exact);
  EXPECT_TRUE(scan("select u&'a'", false).exact);
}

TEST(Template, GivesTheValueOfEveryLiteral) {
  const std::string sql = "select 42, 1.50, 'it''s', E'a\\n\\x41\\101\\u00e9''\\\\', 'a'\n 'b', b'1'";
  const Template tpl = scan(sql);
  const std::vector<std::optional<std::string>> wanted = {"42",        "1.50", "it's",
                                                          "a\nAAé'\\", "ab",   std::nullopt};
  ASSERT_EQ(tpl.literals.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(literal_value(sql, tpl.literals[i]), wanted[i]) << i;
}

TEST(Template, SameTextGivesSameHashAndReusesItsBuffers) {
  Template tpl;
  scan_template("select * from t where id = 1", true, tpl);
  const uint64_t hash = tpl.hash;
  const char* buffer = tpl.text.data();
  scan_template("select * from t where id = 7", true, tpl);
  EXPECT_EQ(tpl.hash, hash);
  EXPECT_EQ(tpl.text.data(), buffer);
  scan_template("select * from t where id = '7'", true, tpl);
  EXPECT_NE(tpl.hash, hash);
}

// --- property: token borders are those of PostgreSQL's own scanner ---

const std::vector<std::string> kCorpus = {
    "select 1 from t where a = 'x' and b>=-1.5e-3 or c@>array[1,2]",
    "insert into t (a,b) values (1,'it''s'),(2,E'a\\'b'),($1,$2) on conflict do nothing returning *",
    "update \"T\" set a=a+1,b=$$q$$ where \"a b\" <> 5 and x is not null; delete from t",
    "select a.b.c, t.*, x[1:2], y::int[], 'a'::varchar(10), interval '1 day' from a join b using(id)",
    "/* c /* n */ */ select -- end\n 'a'\n'b' , U&'d\\0061t' uescape '!' , n'x', b'01', x'ff'",
    "select a*-1, a<-1, a->>'k', a#>'{x,1}', a||b, !!a, @-5, a?'k', a ?| array['x'], 2^-3, 5%-2, -+-1",
    "select 1.5, .5, 5., 1..2, 1.e3, 1e+5, $1, $23::int, :a",
    "create function f() returns int as $body$ select 'x' $body$ language sql",
    "select a=>1, b:=2, c::text, d.e, f(variadic array[1]), \"q\"\"q\" , é, a_b$c from x where y~'^a' and "
    "z!~*'b'",
};

std::vector<std::pair<uint32_t, uint32_t>> ours(const std::string& sql, bool& failed) {
  std::vector<std::pair<uint32_t, uint32_t>> out;
  Lexer lexer(sql, true);
  while (true) {
    const Token token = lexer.next();
    failed = token.kind == TokenKind::kFail;
    if (failed || token.kind == TokenKind::kEnd) return out;
    out.emplace_back(token.begin, token.end);
  }
}

std::vector<std::pair<uint32_t, uint32_t>> theirs(const std::string& sql, bool& failed) {
  std::vector<std::pair<uint32_t, uint32_t>> out;
  PgQueryScanResult result = pg_query_scan(sql.c_str());
  failed = result.error != nullptr;
  if (!failed) {
    pg_query::ScanResult scan_result;
    scan_result.ParseFromArray(result.pbuf.data, static_cast<int>(result.pbuf.len));
    for (const auto& token : scan_result.tokens()) {
      if (token.token() == pg_query::SQL_COMMENT || token.token() == pg_query::C_COMMENT) continue;
      out.emplace_back(token.start(), token.end());
    }
  }
  pg_query_free_scan_result(result);
  return out;
}

// libpg_query reports U&'…' tokens as empty; only their start can be compared.
void expect_same_tokens(const std::string& sql) {
  bool our_failure = false;
  bool their_failure = false;
  auto our_tokens = ours(sql, our_failure);
  const auto their_tokens = theirs(sql, their_failure);
  // Where only one of the two sees an error (an empty "" name, a character that no token starts with), the
  // parser must refuse the text.
  if (our_failure != their_failure) {
    PgQueryParseResult parsed = pg_query_parse(sql.c_str());
    EXPECT_NE(parsed.error, nullptr) << sql;
    pg_query_free_parse_result(parsed);
    return;
  }
  if (our_failure) return;
  ASSERT_EQ(our_tokens.size(), their_tokens.size()) << sql;
  for (size_t i = 0; i < our_tokens.size(); ++i) {
    if (their_tokens[i].first == their_tokens[i].second) our_tokens[i].second = our_tokens[i].first;
  }
  ASSERT_EQ(our_tokens, their_tokens) << sql;
}

TEST(LexerProperty, AgreesWithPostgresScannerOnACorpus) {
  for (const std::string& sql : kCorpus) expect_same_tokens(sql);
}

TEST(LexerProperty, AgreesWithPostgresScannerOnMutatedStatements) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  const std::string_view alphabet = "'\"$-+*/<>=!@#%^&|`?~.,;:()[]{}eEbBxXuU&nN09 \t\n\\_aé";
  for (int i = 0; i < 20000; ++i) {
    std::string sql = kCorpus[random() % kCorpus.size()];
    const size_t from = random() % sql.size();
    sql = sql.substr(from, 1 + random() % 40);
    for (size_t edits = random() % 4; edits > 0 && !sql.empty(); --edits) {
      const size_t at = random() % sql.size();
      if (random() % 3 == 0) {
        sql.erase(at, 1);
      } else {
        sql.insert(at, 1, alphabet[random() % alphabet.size()]);
      }
    }
    expect_same_tokens(sql);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace decan::sql
