#include "cuda/emulation/compiler.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/error.h"

namespace cf::cuda::emulation {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

uint64_t hash(const std::string& text, uint64_t h = 0xcbf29ce484222325ull) {
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

/// Whatever a kernel's text may include: another version of it is another kernel.
uint64_t headers() {
  static const uint64_t value = [] {
    uint64_t h = hash("");
    std::vector<fs::path> files;
    for (const char* folder : {"cuda/kernels", "cuda/emulation", "common"})
      for (const auto& entry : fs::directory_iterator(fs::path(CF_SOURCE_DIR) / folder))
        if (entry.path().extension() == ".h") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& f : files) h = hash(read(f), h);
    return h;
  }();
  return value;
}

/// What follows the #include lines that a text begins with.
size_t body_of(const std::string& text) {
  size_t at = 0;
  while (text.compare(at, 9, "#include ") == 0) at = text.find('\n', at) + 1;
  return at;
}

/// Generated kernels include headers, define no macros and have their kernel in the text: those go into one translation unit, a namespace each.
bool plain(const std::string& text) { return text.find('#', body_of(text)) == std::string::npos && text.find("CF_KERNEL") != std::string::npos; }

/// Hidden: shared memory in an inline function would else be one object for all kernels of that name.
void build(const std::string& source, const fs::path& to) {
  const std::string stem = to.string() + "." + std::to_string(getpid());
  const std::string cpp = stem + ".cpp", log = stem + ".log", out = stem + ".so";
  std::ofstream(cpp) << source;
  const char* cxx = std::getenv("CXX");
  const std::string command = std::string(cxx && *cxx ? cxx : "c++") + " -std=c++17 -O1 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -Wno-unused-function -ffp-contract=off -I'" +
                              CF_SOURCE_DIR + "' -o '" + out + "' '" + cpp + "' 2>'" + log + "'";
  if (std::system(command.c_str()) != 0)
    throw Error(Code::internal, "emulation", "a kernel does not compile: see " + cpp + "\n" + read(log).substr(0, 400));
  fs::rename(out, to);
  fs::remove(cpp);
  fs::remove(log);
}

void* load(const std::string& source) {
  char name[64];
  std::snprintf(name, sizeof name, "%016llx%016llx.so", static_cast<unsigned long long>(hash(source)), static_cast<unsigned long long>(headers()));
  fs::create_directories(CF_EMULATION_CACHE);
  const fs::path file = fs::path(CF_EMULATION_CACHE) / name;
  if (!fs::exists(file)) build(source, file);
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(Code::internal, "emulation", dlerror());
  return library;
}

std::string entry(size_t i, const std::string& kernel) {
  return "extern \"C\" __attribute__((visibility(\"default\"))) const char* cf_entry_" + std::to_string(i) + "(const cf_emulation::Grid* g, const void* args) { return cf_emulation::run(*g, " + kernel +
         ", args); }\n";
}

/// Keeps what a GPU would be given, so that its own compiler can be tried on it.
void keep(const std::string& text) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.cu", static_cast<unsigned long long>(hash(text)));
  fs::create_directories(CF_EMULATION_CACHE);
  const fs::path file = fs::path(CF_EMULATION_CACHE) / name;
  if (!fs::exists(file)) std::ofstream(file) << text;
}

}  // namespace

std::vector<Entry> compile(const std::vector<Kernel>& kernels) {
  for (const Kernel& k : kernels) keep(k.text);
  const std::string head = "#include \"cuda/emulation/shim.h\"\n#include \"cuda/kernels/device.h\"\n";
  std::string before, together;
  for (size_t i = 0; i < kernels.size(); ++i)
    if (plain(kernels[i].text)) {
      const std::string space = "k" + std::to_string(i);
      const size_t body = body_of(kernels[i].text);
      const std::string includes = kernels[i].text.substr(0, body);
      if (before.find(includes) == std::string::npos) before += includes;
      together += "namespace " + space + " {\nusing namespace cf;\nusing namespace cf::cuda;\n" + kernels[i].text.substr(body) + "}\n" + entry(i, space + "::cf_kernel");
    }
  std::vector<Entry> out(kernels.size());
  void* library = together.empty() ? nullptr : load(head + before + together);
  for (size_t i = 0; i < kernels.size(); ++i) {
    void* const from = plain(kernels[i].text) ? library : load(head + kernels[i].text + "\n" + entry(0, "cf_kernel"));
    out[i] = reinterpret_cast<Entry>(dlsym(from, ("cf_entry_" + std::to_string(plain(kernels[i].text) ? i : 0)).c_str()));
    if (!out[i]) throw Error(Code::internal, "emulation", "a compiled kernel lacks its entry");
  }
  return out;
}

}  // namespace cf::cuda::emulation
