#include "cuda/launch.h"

namespace cf::cuda {

double flops(const Program& program, const Instr& instr) {
  const auto elements = [&](uint32_t id) { return static_cast<double>(program.tensors[id].elements()); };
  switch (instr.op) {
    case Op::map: return elements(instr.outputs[0]) * instr.attrs[1 + instr.attrs[0]];
    case Op::reduce: return elements(instr.inputs[0]) * (1 + instr.attrs[4 + instr.attrs[3]]);
    case Op::matmul: return 2 * elements(instr.outputs[0]) * program.tensors[instr.inputs[0]].dims[2];
    case Op::conv:
    case Op::conv_data_grad: {
      // Each element of y meets I·kh·kw weights, whichever way the products go.
      const Tensor& pixels = program.tensors[instr.op == Op::conv ? instr.outputs[0] : instr.inputs[0]];
      return 2.0 * pixels.dims[0] * pixels.dims[1] * pixels.dims[2] * instr.attrs[3] * instr.attrs[4] * instr.attrs[5] * instr.attrs[6];
    }
    case Op::conv_weight_grad: {
      const Tensor& dy = program.tensors[instr.inputs[1]];
      return 2.0 * static_cast<double>(dy.elements()) * instr.attrs[4] * instr.attrs[5] * instr.attrs[6];
    }
    default: return 0;
  }
}

}  // namespace cf::cuda
