// Checked arguments. A wrong type is a TypeError, a wrong size a RangeError: neither ever reaches the kernel.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

struct Bytes {
  uint8_t *data;
  size_t size;
};

inline Bytes bytes_of(const Napi::Value &value, const char *name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a Uint8Array");
  Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  // A detached array has length 0 and no data.
  return {array.Data(), array.ByteLength()};
}

inline Bytes bytes_of_size(const Napi::Value &value, const char *name, size_t size) {
  Bytes bytes = bytes_of(value, name);
  if (bytes.size != size)
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must have " + std::to_string(size) + " bytes, has " +
                                                 std::to_string(bytes.size));
  return bytes;
}

inline uint32_t uint32_of(const Napi::Value &value, const char *name) {
  if (!value.IsNumber()) throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a number");
  double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= UINT32_MAX) || number != static_cast<uint32_t>(number))
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must be a 32-bit unsigned integer");
  return static_cast<uint32_t>(number);
}

inline uint32_t uint32_or(const Napi::Value &value, const char *name, uint32_t fallback) {
  return value.IsUndefined() ? fallback : uint32_of(value, name);
}

inline std::string text_of(const Napi::Value &value, const char *name) {
  if (!value.IsString()) throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos)
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must not contain NUL");
  return text;
}

inline std::vector<std::string> texts_of(const Napi::Value &value, const char *name) {
  if (!value.IsArray()) throw Napi::TypeError::New(value.Env(), std::string(name) + " must be an array");
  Napi::Array array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < array.Length(); i++) texts.push_back(text_of(array[i], name));
  return texts;
}

inline Napi::BigUint64Array uint64s_of(const Napi::Value &value, const char *name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array)
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a BigUint64Array");
  return value.As<Napi::BigUint64Array>();
}

inline Napi::Function function_of(const Napi::Value &value, const char *name) {
  if (!value.IsFunction()) throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a function");
  return value.As<Napi::Function>();
}

inline Napi::Object object_of(const Napi::Value &value, const char *name) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), std::string(name) + " must be an object");
  return value.As<Napi::Object>();
}
