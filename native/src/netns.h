// Network namespaces, each entered by a thread that is made for it and ends with it: one that went on to live, such as
// those of libuv's pool, would take other work to the wrong namespace.
#pragma once
#include <napi.h>

#include <functional>
#include <string>

/** Waits for the end of `work` and throws what it throws: a Failure, as do the two below. */
void on_thread_of_its_own(const std::function<void()> &work);

/** Takes the calling thread there for good. */
void enter_netns(const std::string &path);

/** Of the calling thread; 0 where the kernel does not say. */
uint64_t netns_cookie_here();

Napi::Value netns_cookie(const Napi::CallbackInfo &info);
Napi::Value netns_cookies(const Napi::CallbackInfo &info);
