// Many rows per system call: a row costs a quarter of what it costs alone. Without batch commands (per-CPU arrays
// before 5.13) the same functions work row by row.
#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>

#include "map.h"
#include "signals.h"

namespace {

constexpr int kENotSupp = 524;  // ENOTSUPP, for batch commands that the map type does not have
constexpr uint32_t kBucketMax = 1 << 16;

bool lacks_batch(int result) { return result == -kENotSupp || result == -EOPNOTSUPP; }

}  // namespace

uint32_t Map::put_one_by_one(Bytes keys, Bytes values, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    int result = bpf_map_update_elem(fd("bpf_map_update_elem"), keys.data + i * info_.key_size,
                                     values.data + i * value_size_, BPF_ANY);
    if (result < 0) fail(Env(), {"bpf_map_update_elem", -result, {}, {}, i});
  }
  return count;
}

Napi::Value Map::put_batch(const Napi::CallbackInfo &info) {
  uint32_t count = uint32_of(info[2], "count");
  Bytes keys = bytes_of_size(info[0], "keys", size_t{count} * info_.key_size);
  Bytes values = bytes_of_size(info[1], "values", size_t{count} * value_size_);
  if (count == 0) return Napi::Number::New(info.Env(), 0);
  uint32_t done = count;
  LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);
  int result = call_again([&] {
    done = count;
    return bpf_map_update_batch(fd("bpf_map_update_batch"), keys.data, values.data, &done, &opts);
  });
  if (lacks_batch(result)) done = put_one_by_one(keys, values, count);
  // When the kernel fails before the first row, it leaves the count unchanged.
  else if (result < 0)
    fail(info.Env(), {"bpf_map_update_batch", -result, {}, {}, done == count ? 0 : done});
  return Napi::Number::New(info.Env(), done);
}

Napi::Value Map::delete_batch(const Napi::CallbackInfo &info) {
  uint32_t count = uint32_of(info[1], "count");
  Bytes keys = bytes_of_size(info[0], "keys", size_t{count} * info_.key_size);
  LIBBPF_OPTS(bpf_map_batch_opts, opts);
  uint32_t at = 0, existed = 0;
  while (at < count) {
    uint32_t done = count - at;
    uint8_t *key = keys.data + size_t{at} * info_.key_size;
    int result = bpf_map_delete_batch(fd("bpf_map_delete_batch"), key, &done, &opts);
    if (result < 0 && done >= count - at) done = 0;  // rejected as a whole: row by row tells which
    at += done;
    existed += done;
    if (result == 0) break;
    // The batch stops at a missing key: skip it.
    result = bpf_map_delete_elem(fd("bpf_map_delete_elem"), keys.data + size_t{at} * info_.key_size);
    if (result < 0 && result != -ENOENT) fail(info.Env(), {"bpf_map_delete_elem", -result, {}, {}, existed});
    existed += result == 0;
    at++;
  }
  return Napi::Number::New(info.Env(), existed);
}

struct Map::Page {
  std::vector<uint8_t> cursor;  // empty: from the start
  std::vector<uint8_t> keys, values;
  uint32_t count = 0;
  uint32_t room = 0;

  void resize(uint32_t rows, size_t key_size, size_t value_size) {
    room = rows;
    keys.resize(rows * key_size);
    values.resize(rows * value_size);
  }
};

// Returns 0 when more rows follow, -ENOENT at the end, another negative errno on failure.
int Map::read_by_batch(Page &page) {
  // The cursor of hash maps is a 32-bit bucket number, of arrays a key.
  std::vector<uint8_t> next(std::max<size_t>(info_.key_size, sizeof(uint32_t)));
  void *from = page.cursor.empty() ? nullptr : page.cursor.data();
  LIBBPF_OPTS(bpf_map_batch_opts, opts);
  for (;;) {
    // EINTR before 6.2, from maps without buckets, when rows are deleted meanwhile.
    int result = call_again([&] {
      page.count = page.room;
      return bpf_map_lookup_batch(fd("bpf_map_lookup_batch"), from, next.data(), page.keys.data(), page.values.data(),
                                  &page.count, &opts);
    });
    if (result == 0) page.cursor = next;
    if (result != -ENOSPC) return result;
    // ENOSPC: the kernel reads whole buckets, and this one has more rows than the buffer.
    if (page.room >= kBucketMax) return result;
    page.resize(page.room * 2, info_.key_size, value_size_);
  }
}

// The cursor is the last key read. For arrays only, whose keys cannot be deleted.
int Map::read_one_by_one(Page &page) {
  std::vector<uint8_t> key(info_.key_size);
  int map = fd("bpf_map_get_next_key");
  for (page.count = 0; page.count < page.room; page.count++) {
    int result = bpf_map_get_next_key(map, page.cursor.empty() ? nullptr : page.cursor.data(), key.data());
    if (result < 0) return result;
    page.cursor = key;
    memcpy(&page.keys[page.count * info_.key_size], key.data(), info_.key_size);
    result = bpf_map_lookup_elem(map, key.data(), &page.values[page.count * value_size_]);
    if (result < 0) return result;
  }
  return 0;
}

Napi::Value Map::read_batch(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Page page;
  if (!info[0].IsUndefined()) {
    Bytes cursor = bytes_of_size(info[0], "cursor", std::max<size_t>(info_.key_size, sizeof(uint32_t)));
    page.cursor.assign(cursor.data, cursor.data + cursor.size);
  }
  uint32_t max = uint32_of(info[1], "max");
  if (max == 0) throw Napi::RangeError::New(env, "max must be at least 1");
  // A hash bucket seldom has more than a few rows.
  page.resize(std::min(max, std::max(info_.max_entries, 16U)), info_.key_size, value_size_);
  int result = read_by_batch(page);
  if (lacks_batch(result)) result = read_one_by_one(page);
  bool end = result == -ENOENT;
  if (!end) check(env, "bpf_map_lookup_batch", result);

  auto copy = [env](const std::vector<uint8_t> &from, size_t size) {
    Napi::Uint8Array array = Napi::Uint8Array::New(env, size);
    std::copy_n(from.data(), size, array.Data());
    return array;
  };
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("keys", copy(page.keys, page.count * info_.key_size));
  answer.Set("values", copy(page.values, page.count * value_size_));
  answer.Set("count", Napi::Number::New(env, page.count));
  answer.Set("cursor", end ? env.Undefined() : Napi::Value(copy(page.cursor, page.cursor.size())));
  return answer;
}
