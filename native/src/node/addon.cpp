// The Node-API addon: the C ABI as two JavaScript classes, for Node, Bun and Deno alike.
//
//   const { Context, buildInfo } = require("coopflow.node");
//   const context = new Context({ threads: 2 });
//   const program = context.load(bytes, { createMissing: true });
//   program.feed("z", new Float32Array(64));
//   await program.run();
//   const images = program.fetch("images");
//   program.close(); context.close();
#define NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS  // errors become pending JavaScript exceptions
#include <napi.h>

#include <string>
#include <utility>
#include <vector>

#include "coopflow.h"

namespace {

/// Throws a JavaScript Error with `code` and `op` from a failed call. Returns whether the call succeeded.
bool check(Napi::Env env, int32_t status, const cf_error& error) {
  if (status == CF_OK) return true;
  Napi::Error e = Napi::Error::New(env, error.message);
  e.Set("code", Napi::Number::New(env, status));
  e.Set("op", Napi::String::New(env, error.op));
  e.ThrowAsJavaScriptException();
  return false;
}

/// Text from an ABI function that writes into a caller's buffer; parsed JSON, or undefined with an exception pending.
template <class F>
Napi::Value read_json(Napi::Env env, F&& call) {
  cf_error error{};
  uint64_t needed = 0;
  if (!check(env, call(nullptr, 0, &needed, &error), error)) return env.Undefined();
  std::vector<char> text(needed);
  if (!check(env, call(text.data(), text.size(), &needed, &error), error)) return env.Undefined();
  Napi::Object json = env.Global().Get("JSON").As<Napi::Object>();
  return json.Get("parse").As<Napi::Function>().Call(json, {Napi::String::New(env, text.data())});
}

void throw_type(Napi::Env env, const std::string& message) { Napi::TypeError::New(env, message).ThrowAsJavaScriptException(); }

/// Bytes of a Float32Array or Uint32Array (both four bytes an element).
struct Words {
  const void* data = nullptr;
  uint64_t bytes = 0;
  uint32_t dtype = CF_F32;
};

bool words_of(const Napi::Value& v, Words* out) {
  if (!v.IsTypedArray()) return false;
  Napi::TypedArray a = v.As<Napi::TypedArray>();
  const bool f32 = a.TypedArrayType() == napi_float32_array, u32 = a.TypedArrayType() == napi_uint32_array;
  if (!f32 && !u32) return false;
  out->data = static_cast<const uint8_t*>(a.ArrayBuffer().Data()) + a.ByteOffset();
  out->bytes = a.ByteLength();
  out->dtype = f32 ? CF_F32 : CF_U32;
  return true;
}

/// Runs a program off the event loop.
class RunWorker : public Napi::AsyncWorker {
 public:
  RunWorker(Napi::Env env, cf_program program, Napi::Object owner)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), program_(program), owner_(Napi::Persistent(owner)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }
  void Execute() override { status_ = cf_program_run(program_, &error_); }
  void OnOK() override {
    Napi::Env env = Env();
    if (status_ == CF_OK) {
      deferred_.Resolve(env.Undefined());
      return;
    }
    Napi::Error e = Napi::Error::New(env, error_.message);
    e.Set("code", Napi::Number::New(env, status_));
    e.Set("op", Napi::String::New(env, error_.op));
    deferred_.Reject(e.Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  cf_program program_;
  Napi::ObjectReference owner_;  // keeps the Program object, and so the handle, until the run is over
  int32_t status_ = CF_OK;
  cf_error error_{};
};

class Program : public Napi::ObjectWrap<Program> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Program",
                       {InstanceMethod("feed", &Program::Feed), InstanceMethod("run", &Program::RunAsync), InstanceMethod("fetch", &Program::Fetch),
                        InstanceMethod("close", &Program::Close), InstanceAccessor("info", &Program::Info, nullptr)});
  }
  explicit Program(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Program>(info) {
    if (info.Length() != 2 || !info[0].IsBigInt() || !info[1].IsObject()) {
      throw_type(info.Env(), "Program: expected to be made by Context.load");
      return;
    }
    bool lossless = false;
    handle_ = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
    context_ = Napi::Persistent(info[1].As<Napi::Object>());
  }
  ~Program() override {
    if (handle_) cf_program_destroy(handle_, nullptr);
  }

 private:
  Napi::Value Info(const Napi::CallbackInfo& info) {
    return read_json(info.Env(), [&](char* out, uint64_t len, uint64_t* needed, cf_error* e) { return cf_program_info(handle_, out, len, needed, e); });
  }

  /// Index and size of the feed or fetch called `name`; false with an exception pending.
  bool port(Napi::Env env, const char* list, const Napi::Value& name, uint32_t* index, uint64_t* bytes) {
    Napi::Value parsed =
        read_json(env, [&](char* out, uint64_t len, uint64_t* needed, cf_error* e) { return cf_program_info(handle_, out, len, needed, e); });
    if (env.IsExceptionPending()) return false;
    const std::string wanted = name.IsString() ? name.As<Napi::String>().Utf8Value() : std::string();
    Napi::Array ports = parsed.As<Napi::Object>().Get(list).As<Napi::Array>();
    std::string known;
    for (uint32_t i = 0; i < ports.Length(); ++i) {
      Napi::Object p = ports.Get(i).As<Napi::Object>();
      const std::string have = p.Get("name").As<Napi::String>().Utf8Value();
      if (have == wanted) {
        *index = p.Get("index").As<Napi::Number>().Uint32Value();
        *bytes = static_cast<uint64_t>(p.Get("bytes").As<Napi::Number>().Int64Value());
        return true;
      }
      known += (known.empty() ? "" : ", ") + have;
    }
    throw_type(env, std::string(list) + ": expected one of " + known + ", found " + wanted);
    return false;
  }

  Napi::Value Feed(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    uint32_t index = 0;
    uint64_t bytes = 0;
    Words words;
    if (!port(env, "feeds", info[0], &index, &bytes)) return env.Undefined();
    if (!words_of(info[1], &words)) {
      throw_type(env, "feed: expected a Float32Array or Uint32Array");
      return env.Undefined();
    }
    cf_error error{};
    check(env, cf_program_feed(handle_, index, words.data, words.bytes, &error), error);
    return env.Undefined();
  }

  Napi::Value Fetch(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    uint32_t index = 0;
    uint64_t bytes = 0;
    if (!port(env, "fetches", info[0], &index, &bytes)) return env.Undefined();
    Napi::Float32Array out = Napi::Float32Array::New(env, bytes / 4);
    cf_error error{};
    if (!check(env, cf_program_fetch(handle_, index, out.Data(), bytes, &error), error)) return env.Undefined();
    return out;
  }

  Napi::Value RunAsync(const Napi::CallbackInfo& info) {
    auto* worker = new RunWorker(info.Env(), handle_, info.This().As<Napi::Object>());  // deletes itself when done
    worker->Queue();
    return worker->promise();
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    if (handle_) {
      cf_error error{};
      const cf_program handle = std::exchange(handle_, 0);
      check(info.Env(), cf_program_destroy(handle, &error), error);
    }
    return info.Env().Undefined();
  }

  cf_program handle_ = 0;
  Napi::ObjectReference context_;  // keeps the Context object, whose end would be the program's, as long as the program
};

class Context : public Napi::ObjectWrap<Context> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Context",
                       {InstanceMethod("load", &Context::Load), InstanceMethod("setState", &Context::SetState), InstanceMethod("getState", &Context::GetState),
                        InstanceMethod("listState", &Context::ListState), InstanceMethod("cancel", &Context::Cancel), InstanceMethod("close", &Context::Close),
                        InstanceAccessor("info", &Context::Info, nullptr)});
  }
  explicit Context(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Context>(info) {
    std::string device = "cpu";
    int32_t threads = 0;
    if (info.Length() > 0 && info[0].IsObject()) {
      Napi::Object o = info[0].As<Napi::Object>();
      if (o.Has("device")) device = o.Get("device").ToString().Utf8Value();
      if (o.Has("threads")) threads = o.Get("threads").ToNumber().Int32Value();
    }
    cf_error error{};
    check(info.Env(), cf_context_create(device.c_str(), threads, CF_ISA_BEST, 0, &handle_, &error), error);
  }
  ~Context() override {
    if (handle_) cf_context_destroy(handle_, nullptr);
  }

 private:
  Napi::Value Info(const Napi::CallbackInfo& info) {
    return read_json(info.Env(), [&](char* out, uint64_t len, uint64_t* needed, cf_error* e) { return cf_context_info(handle_, out, len, needed, e); });
  }
  Napi::Value ListState(const Napi::CallbackInfo& info) {
    return read_json(info.Env(), [&](char* out, uint64_t len, uint64_t* needed, cf_error* e) { return cf_state_list(handle_, out, len, needed, e); });
  }

  Napi::Value Load(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (info.Length() < 1 || !info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw_type(env, "load: expected the bytes of a program as a Uint8Array");
      return env.Undefined();
    }
    Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
    const bool create = info.Length() > 1 && info[1].IsObject() && info[1].As<Napi::Object>().Get("createMissing").ToBoolean();
    cf_error error{};
    cf_program program = 0;
    if (!check(env, cf_program_load(handle_, bytes.Data(), bytes.ByteLength(), create ? CF_CREATE_MISSING_STATE : 0, &program, &error), error)) {
      return env.Undefined();
    }
    Napi::FunctionReference* maker = env.GetInstanceData<Napi::FunctionReference>();
    return maker->New({Napi::BigInt::New(env, program), info.This()});
  }

  Napi::Value SetState(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    Words words;
    if (info.Length() < 3 || !info[0].IsString() || !words_of(info[1], &words) || !info[2].IsArray()) {
      throw_type(env, "setState: expected a name, a Float32Array or Uint32Array, and a shape");
      return env.Undefined();
    }
    Napi::Array dims = info[2].As<Napi::Array>();
    std::vector<uint32_t> shape(dims.Length());
    for (uint32_t i = 0; i < dims.Length(); ++i) shape[i] = dims.Get(i).ToNumber().Uint32Value();
    cf_error error{};
    const std::string name = info[0].As<Napi::String>().Utf8Value();
    check(env, cf_state_set(handle_, name.c_str(), words.dtype, shape.data(), static_cast<uint32_t>(shape.size()), words.data, words.bytes, &error), error);
    return env.Undefined();
  }

  Napi::Value GetState(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    Napi::Value listed = ListState(info);
    if (env.IsExceptionPending()) return env.Undefined();
    const std::string name = info[0].ToString().Utf8Value();
    Napi::Array states = listed.As<Napi::Array>();
    for (uint32_t i = 0; i < states.Length(); ++i) {
      Napi::Object s = states.Get(i).As<Napi::Object>();
      if (s.Get("name").As<Napi::String>().Utf8Value() != name) continue;
      const uint64_t bytes = static_cast<uint64_t>(s.Get("bytes").As<Napi::Number>().Int64Value());
      Napi::Float32Array out = Napi::Float32Array::New(env, bytes / 4);
      cf_error error{};
      if (!check(env, cf_state_get(handle_, name.c_str(), out.Data(), bytes, &error), error)) return env.Undefined();
      return out;
    }
    throw_type(env, "getState: expected the name of a state, found " + name);
    return env.Undefined();
  }

  Napi::Value Cancel(const Napi::CallbackInfo& info) {
    cf_error error{};
    check(info.Env(), cf_context_cancel(handle_, &error), error);
    return info.Env().Undefined();
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    if (handle_) {
      cf_error error{};
      const cf_context handle = std::exchange(handle_, 0);
      check(info.Env(), cf_context_destroy(handle, &error), error);
    }
    return info.Env().Undefined();
  }

  cf_context handle_ = 0;
};

Napi::Value BuildInfo(const Napi::CallbackInfo& info) {
  return read_json(info.Env(), [](char* out, uint64_t len, uint64_t* needed, cf_error* e) { return cf_build_info(out, len, needed, e); });
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* program = new Napi::FunctionReference(Napi::Persistent(Program::define(env)));
  env.SetInstanceData<Napi::FunctionReference>(program);
  exports.Set("Context", Context::define(env));
  exports.Set("buildInfo", Napi::Function::New(env, BuildInfo));
  exports.Set("abiVersion", Napi::Number::New(env, cf_abi_version()));
  return exports;
}

}  // namespace

NODE_API_MODULE(coopflow, Init)
