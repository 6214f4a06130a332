#include "cuda/gpu/machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "common/error.h"
#include "cuda/dependencies.h"

namespace cf::cuda::gpu {
namespace {

constexpr uint64_t kAlignment = 256;
constexpr uint32_t kPlaces = 3;  ///< of scratch and of workspaces, where launches run at the same time

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct GpuPrepared final : Prepared {
  std::vector<CUfunction> functions;                                  ///< per kernel
  std::vector<std::shared_ptr<const ProductPlan>> products;           ///< per launch; NULL for others
  std::vector<std::shared_ptr<const ConvolutionPlan>> convolutions;  ///< likewise
  struct Part {
    uint64_t at, bytes;
  };
  std::vector<Part> workspaces;  ///< per launch: the library's part of scratch
};

/// Dead contexts can't be entered: nothing is left to free then.
bool alive(const Device& device) { return device.cu.cuCtxSetCurrent(device.context) == CUDA_SUCCESS; }

struct GpuGraph final : Graph {
  explicit GpuGraph(const Device& d) : device(d) {}
  ~GpuGraph() override {
    if (exec && alive(device)) device.cu.cuGraphExecDestroy(exec);
  }
  const Device& device;
  CUgraphExec exec = nullptr;
  std::shared_ptr<const std::string> launches;

  // For running one by one.
  const LaunchList* list = nullptr;
  const Prepared* prepared = nullptr;
  Binding binding;
  uint32_t begin = 0, end = 0;
};

/// For errors: "map, layer_norm and 37 others of instructions 12 to 90".
std::string names(const LaunchList& list, uint32_t begin, uint32_t end) {
  std::vector<std::string> kinds;
  for (uint32_t i = begin; i < end; ++i)
    if (std::find(kinds.begin(), kinds.end(), list.launches[i].name) == kinds.end()) kinds.push_back(list.launches[i].name);
  std::string out;
  for (size_t i = 0; i < kinds.size(); ++i) out += (i == 0 ? "" : ", ") + kinds[i];
  const uint32_t first = list.launches[begin].instr, last = list.launches[end - 1].instr;
  return out + (first == last ? " of instruction " + std::to_string(first) : " of instructions " + std::to_string(first) + " to " + std::to_string(last));
}

bool asked_for(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value && std::strcmp(value, "0") != 0;
}

}  // namespace

GpuMachine::GpuMachine(uint32_t ordinal, Precision precision)
    : device_(ordinal), memory_(device_), modules_(device_), products_(device_, precision), convolutions_(device_, precision), one_by_one_(asked_for("COOPFLOW_CUDA_SYNC")), concurrent_(asked_for("COOPFLOW_CUDA_CONCURRENT")) {
  if (precision != Precision::float32 && device_.major < 8)
    throw Error(Code::unsupported, "cf_context_create", device_.name + " has no TF32 and no bfloat16: expected a GPU of compute capability 8.0 or later. Use float32.");
  target_.multiprocessors = static_cast<uint32_t>(device_.multiprocessors);
  target_.shared_bytes = static_cast<uint32_t>(device_.shared_bytes);
  target_.precision = precision;
  target_.scratch_places = concurrent_ ? kPlaces : 1;
}

GpuMachine::~GpuMachine() {
  if (alive(device_)) device_.cu.cuStreamSynchronize(device_.stream);
}

std::unique_ptr<Prepared> GpuMachine::prepare(const LaunchList& list) {
  device_.enter();
  auto p = std::make_unique<GpuPrepared>();
  p->functions = modules_.load(list);
  uint64_t most = 0;
  for (const Launch& l : list.launches) {
    p->products.push_back(l.kind == Launch::Kind::matmul ? products_.plan(l.matmul) : nullptr);
    p->convolutions.push_back(l.kind == Launch::Kind::convolution ? convolutions_.plan(l.convolution) : nullptr);
    const uint64_t bytes = p->products.back()       ? Products::workspace_bytes(*p->products.back())
                           : p->convolutions.back() ? Convolutions::workspace_bytes(*p->convolutions.back())
                                                    : 0;
    p->workspaces.push_back({0, bytes});
    most = std::max(most, bytes);
  }
  const uint64_t begin = aligned(list.scratch_bytes), places = target_.scratch_places;
  uint64_t turn = 0;
  most = aligned(most);
  for (GpuPrepared::Part& w : p->workspaces)
    if (w.bytes > 0) w.at = begin + turn++ % places * most;
  p->scratch_bytes = begin + std::min(turn, places) * most;
  return p;
}

void GpuMachine::enqueue(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t index) {
  const auto& p = static_cast<const GpuPrepared&>(prepared);
  const Launch& l = list.launches[index];
  char* const workspace = binding.scratch + p.workspaces[index].at;
  switch (l.kind) {
    case Launch::Kind::matmul: return products_.run(*p.products[index], l.matmul, binding, workspace);
    case Launch::Kind::convolution: return convolutions_.run(*p.convolutions[index], l.convolution, binding, workspace);
    case Launch::Kind::kernel: break;
  }
  std::vector<uint8_t> args = l.args;
  for (const Launch::Pointer& pointer : l.pointers) {
    const char* const address = binding.at(pointer.place);
    std::memcpy(args.data() + pointer.at, &address, sizeof address);
  }
  void* parameters[] = {args.data()};
  check(device_.cu.cuLaunchKernel(p.functions[l.kernel], l.grid[0], l.grid[1], l.grid[2], l.block[0], l.block[1], l.block[2], l.shared_bytes, device_.stream, parameters, nullptr),
        l.name.c_str());
}

void GpuMachine::record(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) {
  if (!concurrent_) {
    for (uint32_t i = begin; i < end; ++i) enqueue(list, prepared, binding, i);
    return;
  }
  std::vector<Workspace> workspaces;
  for (const GpuPrepared::Part& w : static_cast<const GpuPrepared&>(prepared).workspaces) workspaces.push_back({binding.scratch + w.at, w.bytes});
  const std::vector<std::vector<uint32_t>> before = dependencies(list, binding, begin, end, workspaces);
  CUgraph graph = nullptr;
  const auto last_nodes = [&](const char* what) {
    CUstreamCaptureStatus status{};
    cuuint64_t id = 0;
    const CUgraphNode* nodes = nullptr;
    size_t count = 0;
    check(device_.cu.capture_info(device_.stream, &status, &id, &graph, &nodes, &count), "cuStreamGetCaptureInfo");
    if (status != CU_STREAM_CAPTURE_STATUS_ACTIVE) throw Error(Code::internal, what, "this launch can't be a part of a graph");
    return std::vector<CUgraphNode>(nodes, nodes + count);
  };
  last_nodes("cuStreamBeginCapture");
  // Launches that wait for nothing stand behind a node that does nothing.
  CUgraphNode start = nullptr;
  check(device_.cu.cuGraphAddEmptyNode(&start, graph, nullptr, 0), "cuGraphAddEmptyNode");
  // Of each launch the nodes that stand for its end: a library's may be several kernels, or none.
  std::vector<std::vector<CUgraphNode>> ends;
  const auto stand_behind = [&](const std::vector<uint32_t>& launches) {
    std::vector<CUgraphNode> nodes;
    for (const uint32_t d : launches) nodes.insert(nodes.end(), ends[d].begin(), ends[d].end());
    std::sort(nodes.begin(), nodes.end(), std::less<>());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    if (nodes.empty()) nodes.push_back(start);
    check(device_.cu.set_capture_dependencies(device_.stream, nodes.data(), nodes.size(), CU_STREAM_SET_CAPTURE_DEPENDENCIES), "cuStreamUpdateCaptureDependencies");
  };
  std::vector<bool> last(end - begin, true);
  for (uint32_t i = begin; i < end; ++i) {
    stand_behind(before[i - begin]);
    for (const uint32_t d : before[i - begin]) last[d] = false;
    enqueue(list, prepared, binding, i);
    ends.push_back(last_nodes(list.launches[i].name.c_str()));
  }
  // A capture ends where all its branches do.
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < last.size(); ++i)
    if (last[i]) all.push_back(i);
  stand_behind(all);
}

std::unique_ptr<Graph> GpuMachine::capture(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) {
  device_.enter();
  auto g = std::make_unique<GpuGraph>(device_);
  g->launches = std::make_shared<const std::string>(names(list, begin, end));
  g->list = &list, g->prepared = &prepared, g->binding = binding, g->begin = begin, g->end = end;
  if (one_by_one_) return g;
  CUgraph graph = nullptr;
  {
    const std::lock_guard<std::mutex> hold(device_.enqueue);
    // Relaxed: other threads may allocate meanwhile, and libraries may do what they like.
    check(device_.cu.cuStreamBeginCapture(device_.stream, CU_STREAM_CAPTURE_MODE_RELAXED), "cuStreamBeginCapture");
    try {
      record(list, prepared, binding, begin, end);
    } catch (...) {
      if (device_.cu.cuStreamEndCapture(device_.stream, &graph) == CUDA_SUCCESS && graph) device_.cu.cuGraphDestroy(graph);
      throw;
    }
    check(device_.cu.cuStreamEndCapture(device_.stream, &graph), "cuStreamEndCapture");
  }
  const CUresult made = device_.cu.cuGraphInstantiateWithFlags(&g->exec, graph, 0);
  device_.cu.cuGraphDestroy(graph);
  check(made, "cuGraphInstantiate");
  return g;
}

void GpuMachine::launch(const Graph& graph) {
  device_.enter();
  const auto& g = static_cast<const GpuGraph&>(graph);
  if (one_by_one_) {
    for (uint32_t i = g.begin; i < g.end; ++i) {
      const std::lock_guard<std::mutex> hold(device_.enqueue);
      enqueue(*g.list, *g.prepared, g.binding, i);
      if (const CUresult result = device_.cu.cuStreamSynchronize(device_.stream); result != CUDA_SUCCESS) fail(result, names(*g.list, i, i + 1));
    }
    return;
  }
  Pending p;
  if (spare_.empty()) p.done = std::make_unique<Event>(device_, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC);
  else p.done = std::move(spare_.back()), spare_.pop_back();
  p.launches = g.launches;
  const std::lock_guard<std::mutex> hold(device_.enqueue);
  if (const CUresult result = device_.cu.cuGraphLaunch(g.exec, device_.stream); result != CUDA_SUCCESS) fail(result, *g.launches);
  p.done->record();
  pending_.push_back(std::move(p));
}

void GpuMachine::set_loop(const Binding& binding, uint32_t level, uint32_t value) {
  device_.enter();
  const std::lock_guard<std::mutex> hold(device_.enqueue);
  check(device_.cu.cuMemsetD32Async(reinterpret_cast<CUdeviceptr>(binding.loops) + level * sizeof(uint32_t), value, 1, device_.stream), "cuMemsetD32Async");
}

void GpuMachine::wait(uint32_t pending) {
  device_.enter();
  while (pending_.size() > pending) {
    Pending p = std::move(pending_.front());
    pending_.pop_front();
    if (const CUresult result = p.done->wait(); result != CUDA_SUCCESS) fail(result, *p.launches);
    spare_.push_back(std::move(p.done));
  }
}

void GpuMachine::fail(CUresult result, const std::string& launches) {
  pending_.clear();
  const char *name = nullptr, *text = nullptr;
  device_.cu.cuGetErrorName(result, &name);
  device_.cu.cuGetErrorString(result, &text);
  throw Error(result == CUDA_ERROR_OUT_OF_MEMORY ? Code::out_of_memory : Code::internal, launches.substr(0, launches.find(',')),
              std::string("the GPU reports ") + (name ? name : "an error") + " (" + (text ? text : "unknown") + ") in " + launches +
                  (one_by_one_ ? "" : ". Set COOPFLOW_CUDA_SYNC=1 to learn which of them") + ". The context can't be used any more: make a new one in a new process.");
}

std::vector<double> GpuMachine::time(const LaunchList& list, const Prepared& prepared, const Binding& binding, uint32_t begin, uint32_t end) {
  device_.enter();
  std::vector<std::unique_ptr<Event>> events;
  for (uint32_t i = begin; i <= end; ++i) events.push_back(std::make_unique<Event>(device_, CU_EVENT_DEFAULT));
  {
    const std::lock_guard<std::mutex> hold(device_.enqueue);
    events[0]->record();
    for (uint32_t i = begin; i < end; ++i) {
      enqueue(list, prepared, binding, i);
      events[i + 1 - begin]->record();
    }
  }
  if (const CUresult result = events.back()->wait(); result != CUDA_SUCCESS) fail(result, names(list, begin, end));
  std::vector<double> seconds;
  for (uint32_t i = begin; i < end; ++i) seconds.push_back(events[i + 1 - begin]->seconds_since(*events[i - begin]));
  return seconds;
}

}  // namespace cf::cuda::gpu
