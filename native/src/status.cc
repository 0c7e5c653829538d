#include "status.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <sstream>

namespace {

constexpr int kENotSupp = 524;  // ENOTSUPP: kernel-internal, but bpf() returns it

std::string error_name(int error) {
  if (error == kENotSupp) return "ENOTSUPP";
  if (error >= __LIBBPF_ERRNO__START) return "ELIBBPF";
  const char *name = strerrorname_np(error);
  return name != nullptr ? name : "E" + std::to_string(error);
}

thread_local LibbpfLog *current_log = nullptr;

bool starts_with(const std::string &line, const char *prefix) { return line.rfind(prefix, 0) == 0; }

// Statistics and the register state follow the reason.
bool is_verdict_line(const std::string &line) {
  if (line.empty() || line[0] == ';') return false;
  for (const char *noise : {"processed ", "verification time", "stack depth", "-- ", "mark_precise:", "peak_states"})
    if (starts_with(line, noise)) return false;
  return true;
}

}  // namespace

Napi::Error error_of(Napi::Env env, const Failure &failure) {
  std::string code = error_name(failure.error);
  std::string text = failure.detail.empty() ? strerror(failure.error) : failure.detail;
  Napi::Error error = Napi::Error::New(env, std::string(failure.syscall) + ": " + code + ": " + text);
  error.Set("syscall", Napi::String::New(env, failure.syscall));
  error.Set("errno", Napi::Number::New(env, failure.error));
  error.Set("code", Napi::String::New(env, code));
  if (!failure.log.empty()) error.Set("log", Napi::String::New(env, failure.log));
  if (failure.done >= 0) error.Set("done", Napi::Number::New(env, static_cast<double>(failure.done)));
  return error;
}

void fail(Napi::Env env, const Failure &failure) { throw error_of(env, failure); }

int check(Napi::Env env, const char *syscall, int result) {
  if (result < 0) fail(env, {syscall, -result});
  return result;
}

int check_errno(Napi::Env env, const char *syscall, int result) {
  if (result < 0) fail(env, {syscall, errno});
  return result;
}

int check_errno(const char *syscall, int result) {
  if (result < 0) throw Failure{syscall, errno};
  return result;
}

namespace {

int keep(enum libbpf_print_level level, const char *format, va_list args) {
  if (level == LIBBPF_DEBUG || current_log == nullptr) return 0;
  va_list again;
  va_copy(again, args);
  int length = vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (length <= 0) return 0;
  std::string line(static_cast<size_t>(length) + 1, '\0');
  vsnprintf(line.data(), line.size(), format, args);
  line.pop_back();
  current_log->append(line);
  return 0;
}

}  // namespace

LibbpfLog::LibbpfLog() : outer_(current_log) { current_log = this; }

LibbpfLog::~LibbpfLog() { current_log = outer_; }

void LibbpfLog::install() { libbpf_set_print(keep); }

std::string LibbpfLog::reason() const {
  std::istringstream lines(text_);
  std::string line, first, last;
  bool in_verifier_log = false;
  while (std::getline(lines, line)) {
    if (line.find("-- BEGIN PROG LOAD LOG --") != std::string::npos) {
      in_verifier_log = true;
    } else if (line.find("-- END PROG LOAD LOG --") != std::string::npos) {
      break;
    } else if (in_verifier_log) {
      if (is_verdict_line(line)) last = line;
    } else if (first.empty()) {
      first = line;
    }
  }
  std::string reason = last.empty() ? first : first + ": " + last;
  return starts_with(reason, "libbpf: ") ? reason.substr(8) : reason;
}
