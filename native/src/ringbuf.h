#pragma once
#include <bpf/libbpf.h>

#include <memory>
#include <vector>

#include "args.h"
#include "handle.h"
#include "poll.h"

struct RingBufferInit {
  int map;
  Napi::Function callback;
};

/** Passes the records of a BPF ring buffer in batches: a call into JavaScript costs more than reading a record. */
class RingBuffer : public Handle<RingBuffer, RingBufferInit> {
 public:
  static constexpr const char *kName = "RingBuffer";
  static constexpr Class kClass = Class::RingBuffer;
  static constexpr napi_type_tag kTag = {0x736c756963650001, 0x52696e6700000001};

  explicit RingBuffer(const Napi::CallbackInfo &info);
  static Napi::Function define(Napi::Env env);

 private:
  struct Free {
    void operator()(ring_buffer *ring) const { ring_buffer__free(ring); }
  };
  static int on_record(void *self, void *data, size_t size);
  void on_ready();
  Napi::Array batch();
  void close(const Napi::CallbackInfo &info);

  std::unique_ptr<ring_buffer, Free> ring_;
  std::unique_ptr<Poll> poll_;
  std::vector<uint8_t> bytes_;
  std::vector<size_t> ends_;  // offset of the end of each record in bytes_
};

Napi::Value open_ring_buffer(const Napi::CallbackInfo &info);
