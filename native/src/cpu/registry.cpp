// Which factory makes which op.
#include "cpu/kernel.h"
#include "program/decode.h"

namespace cf::cpu {
namespace {

Make factory(Op op) {
  switch (op) {
    case Op::map: return make_map;
    case Op::reduce: return make_reduce;
    case Op::matmul: return make_matmul;
    case Op::conv: return make_conv;
    case Op::conv_data_grad: return make_conv_data_grad;
    case Op::conv_weight_grad: return make_conv_weight_grad;
    case Op::winograd_weights: return make_winograd_weights;
    case Op::random: return make_random;
    case Op::layer_norm: return make_layer_norm;
    case Op::layer_norm_grad: return make_layer_norm_grad;
    case Op::attention: return make_attention;
    case Op::attention_grad: return make_attention_grad;
    case Op::mixture: return make_mixture;
    case Op::mixture_grad: return make_mixture_grad;
    case Op::mixture_inverse: return make_mixture_inverse;
    case Op::matrix_inverse: return make_matrix_inverse;
    case Op::log_abs_det: return make_log_abs_det;
    case Op::repeat: break;  // the executor's own
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Kernel> make_kernel(const Program& program, const Instr& instr, const Device& device) {
  const Make make = factory(instr.op);
  if (!make) refuse(program, instr, "no kernel for this op");
  return make(program, instr, device);
}

}  // namespace cf::cpu
