#include "ringbuf.h"

#include <algorithm>

#include "map.h"
#include "status.h"

namespace {

// Limits the time on the loop; the rest stays readable, so the poll fires again.
constexpr size_t kBatch = 4096;

}  // namespace

RingBuffer::RingBuffer(const Napi::CallbackInfo &info) : Handle(info) {
  RingBufferInit init = take();
  ring_.reset(ring_buffer__new(init.map, on_record, this, nullptr));
  if (!ring_) fail(Env(), {"ring_buffer__new", errno});
  poll_ = std::make_unique<Poll>(Env(), ring_buffer__epoll_fd(ring_.get()), init.callback, [this] { on_ready(); });
  Ref();  // alive until close(), also when JavaScript has dropped the handle
}

Napi::Function RingBuffer::define(Napi::Env env) {
  return DefineClass(env, kName, {InstanceMethod<&RingBuffer::close>("close")});
}

int RingBuffer::on_record(void *self, void *data, size_t size) {
  auto &ring = *static_cast<RingBuffer *>(self);
  auto *from = static_cast<uint8_t *>(data);
  ring.bytes_.insert(ring.bytes_.end(), from, from + size);
  ring.ends_.push_back(ring.bytes_.size());
  return ring.ends_.size() < kBatch ? 0 : -EAGAIN;  // a negative value stops after this record
}

void RingBuffer::on_ready() {
  [[maybe_unused]] Napi::Object alive = Value();  // the callback may close this, and it could be collected then
  int result = ring_buffer__consume(ring_.get());
  if (result < 0 && result != -EAGAIN) fail(Env(), {"ring_buffer__consume", -result});
  if (ends_.empty()) return;
  Napi::Array records = batch();
  bytes_.clear();
  ends_.clear();
  poll_->emit(records);
}

/** One copy and one ArrayBuffer per batch; records are views of it. */
Napi::Array RingBuffer::batch() {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(Env(), bytes_.size());
  std::copy(bytes_.begin(), bytes_.end(), static_cast<uint8_t *>(buffer.Data()));
  Napi::Array records = Napi::Array::New(Env(), ends_.size());
  size_t start = 0;
  for (size_t i = 0; i < ends_.size(); i++) {
    records.Set(static_cast<uint32_t>(i), Napi::Uint8Array::New(Env(), ends_[i] - start, buffer, start));
    start = ends_[i];
  }
  return records;
}

void RingBuffer::close(const Napi::CallbackInfo &) {
  if (!ring_) return;
  poll_->close();
  ring_.reset();
  Unref();
}

Napi::Value open_ring_buffer(const Napi::CallbackInfo &info) {
  Map &map = Map::unwrap(info[0], "map");
  Napi::Function callback = function_of(info[1], "onBatch");
  LibbpfLog log;
  return RingBuffer::create(info.Env(), {map.fd("ring_buffer__new"), callback});
}
