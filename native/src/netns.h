// Network namespaces. A new thread enters one and ends afterwards: a thread of libuv's pool would go on to do other
// work in the wrong namespace.
#pragma once
#include <napi.h>

#include <functional>
#include <string>

/** Runs `work` on a thread in that namespace and waits for it. Throws a Failure, as do the two below. */
void on_thread_of_its_own(const std::function<void()> &work);

/** Moves the calling thread to that namespace. */
void enter_netns(const std::string &path);

/** Cookie of the namespace of the calling thread; 0 before kernel 5.14. */
uint64_t netns_cookie_here();

Napi::Value netns_cookie(const Napi::CallbackInfo &info);
Napi::Value netns_cookies(const Napi::CallbackInfo &info);
