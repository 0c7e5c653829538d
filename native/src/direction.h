#pragma once
#include "args.h"

enum class Direction { Ingress, Egress };

inline Direction direction_of(const Napi::Value &value) {
  std::string text = text_of(value, "direction");
  if (text == "ingress") return Direction::Ingress;
  if (text == "egress") return Direction::Egress;
  throw Napi::RangeError::New(value.Env(), "direction must be ingress or egress");
}
