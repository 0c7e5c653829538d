// The fields of a key or value, from the BTF of the map: so an agent can read maps that another version created.
#include "layout.h"

#include <string>

namespace {

struct Fields {
  Napi::Env env;
  const btf *types;
  Napi::Array list;

  void add(const std::string &name, uint32_t offset, uint32_t type) {
    Napi::Object field = Napi::Object::New(env);
    field.Set("name", Napi::String::New(env, name));
    field.Set("offset", Napi::Number::New(env, offset));
    field.Set("size", Napi::Number::New(env, static_cast<double>(btf__resolve_size(types, type))));
    list.Set(list.Length(), field);
  }
};

Napi::Value type_object(Napi::Env env, const btf *types, uint32_t id) {
  int plain = types == nullptr || id == 0 ? -1 : btf__resolve_type(types, id);
  const btf_type *type = plain < 0 ? nullptr : btf__type_by_id(types, plain);
  int64_t size = type == nullptr ? -1 : btf__resolve_size(types, plain);
  if (size < 0) return env.Undefined();
  Fields fields{env, types, Napi::Array::New(env)};
  if (btf_is_struct(type)) {
    const btf_member *member = btf_members(type);
    for (uint32_t i = 0; i < btf_vlen(type); i++, member++)
      fields.add(btf__name_by_offset(types, member->name_off), btf_member_bit_offset(type, i) / 8, member->type);
  } else {
    fields.add("", 0, plain);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("size", Napi::Number::New(env, static_cast<double>(size)));
  object.Set("fields", fields.list);
  return object;
}

}  // namespace

Napi::Object layout_object(Napi::Env env, const btf *types, uint32_t key, uint32_t value) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("key", type_object(env, types, key));
  object.Set("value", type_object(env, types, value));
  return object;
}
