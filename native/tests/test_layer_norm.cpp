// Layer normalisation and its gradient against plain double precision, the gradient also against differences.
#include "dense_op.h"

namespace {

using namespace cf;
using namespace cf::test;

constexpr float kEps = 1e-5f;
using Doubles = std::vector<double>;
Doubles wide(const Array& a) { return Doubles(a.data.begin(), a.data.end()); }

void normalise(const double* x, size_t c, double& mean, double& inv_std) {
  double variance = 0;
  mean = 0;
  for (size_t i = 0; i < c; ++i) mean += x[i] / static_cast<double>(c);
  for (size_t i = 0; i < c; ++i) variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(c);
  inv_std = 1 / std::sqrt(variance + static_cast<double>(kEps));
}
Doubles forward(const Doubles& x, const Doubles& gain, const Doubles& bias) {
  const size_t c = gain.size();
  Doubles y(x.size());
  for (size_t r = 0; r < x.size(); r += c) {
    double mean, inv_std;
    normalise(&x[r], c, mean, inv_std);
    for (size_t i = 0; i < c; ++i) y[r + i] = (x[r + i] - mean) * inv_std * gain[i] + bias[i];
  }
  return y;
}
struct Grads {
  Doubles dx, dgain, dbias;
};
Grads backward(const Doubles& x, const Doubles& gain, const Doubles& dy) {
  const size_t c = gain.size();
  Grads g{Doubles(x.size()), Doubles(c), Doubles(c)};
  for (size_t r = 0; r < x.size(); r += c) {
    double mean, inv_std, mean_g = 0, mean_gh = 0;
    normalise(&x[r], c, mean, inv_std);
    for (size_t i = 0; i < c; ++i) {
      const double h = (x[r + i] - mean) * inv_std, d = dy[r + i];
      mean_g += d * gain[i] / static_cast<double>(c), mean_gh += d * gain[i] * h / static_cast<double>(c);
      g.dgain[i] += d * h, g.dbias[i] += d;
    }
    for (size_t i = 0; i < c; ++i) g.dx[r + i] = inv_std * (dy[r + i] * gain[i] - mean_g - (x[r + i] - mean) * inv_std * mean_gh);
  }
  return g;
}

void test_reference(std::mt19937& g) {
  Doubles x = wide(normal({3, 5}, g)), gain = wide(normal({5}, g)), bias = wide(normal({5}, g)), dy = wide(normal({3, 5}, g));
  const Grads r = backward(x, gain, dy);
  auto loss = [&] {
    double s = 0;
    const Doubles y = forward(x, gain, bias);
    for (size_t i = 0; i < y.size(); ++i) s += y[i] * dy[i];
    return s;
  };
  auto compare = [&](Doubles& v, const Doubles& expected) {
    for (size_t i = 0; i < v.size(); ++i) {
      const double keep = v[i];
      v[i] = keep + 1e-5;
      const double up = loss();
      v[i] = keep - 1e-5;
      const double down = loss();
      v[i] = keep;
      check(std::fabs((up - down) / 2e-5 - expected[i]) < 1e-7, "reference gradient %zu", i);
    }
  };
  compare(x, r.dx), compare(gain, r.dgain), compare(bias, r.dbias);
}

void test_shape(const Dims& dims, float mean, std::mt19937& g) {
  const uint32_t c = dims.back();
  const Array x = normal(dims, g, 2, mean), gain = normal({c}, g, 0.3f, 1), bias = normal({c}, g), dy = normal(dims, g);
  const Doubles y = forward(wide(x), wide(gain), wide(bias));
  const Grads r = backward(wide(x), wide(gain), wide(dy));
  const double tolerance = 2e-6 * (1 + static_cast<double>(mean));
  for_devices([&](const cpu::Device& device, const std::string& where) {
    Array got(dims), dx(dims), dgain({c}), dbias({c});
    DenseOp(Op::layer_norm, cpu::make_layer_norm, {&x, &gain, &bias}, {&got}, {bits_of(kEps)}, device).run();
    check(relative(got, y) < tolerance, "y: %g (C %u, %s)", relative(got, y), c, where.c_str());
    DenseOp op(Op::layer_norm_grad, cpu::make_layer_norm_grad, {&x, &gain, &dy}, {&dx, &dgain, &dbias}, {bits_of(kEps)}, device);
    op.run();
    check(relative(dx, r.dx) < tolerance, "dx: %g (C %u, %s)", relative(dx, r.dx), c, where.c_str());
    check(relative(dgain, r.dgain) < tolerance, "dgain: %g (C %u, %s)", relative(dgain, r.dgain), c, where.c_str());
    check(relative(dbias, r.dbias) < tolerance, "dbias: %g (C %u, %s)", relative(dbias, r.dbias), c, where.c_str());
    const Array first = dgain;
    op.run();
    check(same_bits(first, dgain), "rerun differs (%s)", where.c_str());
  });
}

void test_refusals() {
  Array x({4, 8}), gain({8}), bias({8}), y({4, 8}), wrong({7});
  auto make = [&](const std::vector<const Array*>& in, std::vector<uint32_t> attrs) {
    return refused([&] { DenseOp(Op::layer_norm, cpu::make_layer_norm, in, {&y}, std::move(attrs), device(cpu::Isa::portable, 1)); });
  };
  check(!make({&x, &gain, &bias}, {bits_of(kEps)}), "a good layer norm was refused");
  check(make({&x, &wrong, &bias}, {bits_of(kEps)}), "wrong gain accepted");
  check(make({&x, &gain, &wrong}, {bits_of(kEps)}), "wrong bias accepted");
  check(make({&x, &gain}, {bits_of(kEps)}), "missing operand accepted");
  check(make({&x, &gain, &bias}, {bits_of(-1.0f)}), "negative eps accepted");
  check(make({&x, &gain, &bias}, {}), "missing eps accepted");
}

}  // namespace

int main() {
  std::mt19937 g(5);
  test_reference(g);
  for (uint32_t c : {3u, 8u, 16u, 20u, 33u, 96u, 128u}) test_shape({3, 150, c}, 0, g);
  test_shape({2, 4, 5, 7, 12}, 0.5f, g);
  test_shape({500, 96}, 30, g);
  test_refusals();
  return finish("layer_norm");
}
