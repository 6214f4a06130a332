// The mixture coupling against plain double precision: both directions, gradients by differences, sharp components and far tails.
#include <algorithm>
#include <atomic>

#include "dense_op.h"

namespace {

using namespace cf;
using namespace cf::test;

double log_sum(const std::vector<double>& v) {
  const double m = *std::max_element(v.begin(), v.end());
  double s = 0;
  for (double x : v) s += std::exp(x - m);
  return m + std::log(s);
}
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

struct Shape {
  uint32_t n, p, c, k;
  uint32_t groups() const { return 2 + 3 * k; }
};

/// One element's parameters in double.
struct Element {
  double a, b;
  std::vector<double> pi, mu, s;
};
struct Reference {
  double log_f, log_g, log_p;
};
Element element(const Shape& s, const std::vector<double>& p, const std::vector<double>& rescale, size_t pixel, size_t ch) {
  auto at = [&](size_t g) { return p[(pixel * s.groups() + g) * s.c + ch]; };
  Element e;
  e.a = rescale[ch] * std::tanh(at(0));
  e.b = at(1);
  for (size_t k = 0; k < s.k; ++k) e.pi.push_back(at(2 + k)), e.mu.push_back(at(2 + s.k + k)), e.s.push_back(std::max(at(2 + 2 * s.k + k), -7.0));
  const double total = log_sum(e.pi);
  for (double& x : e.pi) x -= total;
  return e;
}
Reference evaluate(const Element& e, double x) {
  std::vector<double> f, g, p;
  for (size_t k = 0; k < e.pi.size(); ++k) {
    const double z = (x - e.mu[k]) * std::exp(-e.s[k]);
    f.push_back(e.pi[k] - softplus(-z));
    g.push_back(e.pi[k] - softplus(z));
    p.push_back(e.pi[k] - e.s[k] - softplus(z) - softplus(-z));
  }
  return {log_sum(f), log_sum(g), log_sum(p)};
}
void forward(const Shape& s, const std::vector<double>& x, const std::vector<double>& p, const std::vector<double>& rescale, std::vector<double>& y,
             std::vector<double>& logdet) {
  y.assign(x.size(), 0);
  logdet.assign(s.n, 0);
  for (size_t i = 0; i < x.size(); ++i) {
    const Element e = element(s, p, rescale, i / s.c, i % s.c);
    const Reference r = evaluate(e, x[i]);
    y[i] = (r.log_f - r.log_g + e.b) * std::exp(e.a);
    logdet[i / (s.p * s.c)] += r.log_p - r.log_f - r.log_g + e.a;
  }
}
std::vector<double> wide(const Array& a) { return std::vector<double>(a.data.begin(), a.data.end()); }

struct Case {
  Shape s;
  Array x, p, rescale;
};
Case make_case(const Shape& s, std::mt19937& g, bool sharp) {
  Case c{s, normal({s.n, s.p, s.c}, g, sharp ? 3.0f : 1.5f), Array({s.n, s.p, s.c * s.groups()}), normal({s.c}, g, 0.3f, 1)};
  std::normal_distribution<float> d;
  for (size_t i = 0; i < c.p.data.size(); ++i) {
    const size_t group = i / s.c % s.groups();
    const float z = d(g);
    if (group < 2) c.p[i] = z;
    else if (group < 2 + s.k) c.p[i] = z * (sharp ? 3.0f : 1.0f);
    else if (group < 2 + 2 * s.k) c.p[i] = z * (sharp ? 3.0f : 1.0f);
    else c.p[i] = sharp ? -4.0f + 3.0f * z : -0.5f + 0.5f * z;
  }
  if (sharp)
    for (size_t i = 0; i < c.x.data.size(); i += 5) c.x[i] *= 15;
  return c;
}

void test_forward(const Case& c, bool sharp) {
  const Shape& s = c.s;
  std::vector<double> y, logdet;
  forward(s, wide(c.x), wide(c.p), wide(c.rescale), y, logdet);
  // Rounding x and μ moves a logit by up to |z|·2^-23, so sharp components are judged by how steep they are.
  for_devices([&](const cpu::Device& device, const std::string& where) {
    Array got_y({s.n, s.p, s.c}), got_l({s.n});
    DenseOp op(Op::mixture, cpu::make_mixture, {&c.x, &c.p, &c.rescale}, {&got_y, &got_l}, {s.k}, device);
    op.run();
    const double tolerance = sharp ? 1e-6 : 2e-6;
    check(relative(got_y, y) < tolerance, "y: %g (K %u, C %u, %s)", relative(got_y, y), s.k, s.c, where.c_str());
    double worst = 0;
    for (size_t n = 0; n < s.n; ++n) worst = std::max(worst, std::fabs(got_l[n] - logdet[n]) / std::max(std::fabs(logdet[n]), 0.1 * s.p * s.c));
    check(worst < 1e-6, "logdet: %g (K %u, C %u, %s)", worst, s.k, s.c, where.c_str());
    const Array first_y = got_y, first_l = got_l;
    op.run();
    check(same_bits(first_y, got_y) && same_bits(first_l, got_l), "rerun differs (%s)", where.c_str());
  });
}

void test_gradient(const Case& c, std::mt19937& g, bool sharp) {
  const Shape& s = c.s;
  const Array dy = normal({s.n, s.p, s.c}, g), dl = normal({s.n}, g);
  auto loss = [&](const std::vector<double>& x, const std::vector<double>& p, const std::vector<double>& r) {
    std::vector<double> y, l;
    forward(s, x, p, r, y, l);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
    for (size_t i = 0; i < l.size(); ++i) sum += dl[i] * l[i];
    return sum;
  };
  // Central differences, over all parameters of a thinned-out set.
  std::vector<double> x = wide(c.x), p = wide(c.p), r = wide(c.rescale);
  auto slope = [&](std::vector<double>& v, size_t i) {
    const double keep = v[i], h = 1e-5 * std::max(1.0, std::fabs(keep) * 0.01);
    v[i] = keep + h;
    const double up = loss(x, p, r);
    v[i] = keep - h;
    const double down = loss(x, p, r);
    v[i] = keep;
    return (up - down) / (2 * h);
  };
  struct Probe {
    size_t index;
    double value;
  };
  std::vector<Probe> px, pp, pr;
  for (size_t i = 0; i < x.size(); i += 1 + x.size() / 40) px.push_back({i, slope(x, i)});
  for (size_t i = 0; i < p.size(); i += 1 + p.size() / 150) pp.push_back({i, slope(p, i)});
  for (size_t i = 0; i < r.size(); ++i) pr.push_back({i, slope(r, i)});
  for_devices([&](const cpu::Device& device, const std::string& where) {
    Array dx({s.n, s.p, s.c}), dp({s.n, s.p, s.c * s.groups()}), dr({s.c});
    DenseOp op(Op::mixture_grad, cpu::make_mixture_grad, {&c.x, &c.p, &c.rescale, &dy, &dl}, {&dx, &dp, &dr}, {s.k}, device);
    op.run();
    auto compare = [&](const char* name, const Array& got, const std::vector<Probe>& probes) {
      double size = 0;
      for (const Probe& q : probes) size = std::max(size, std::fabs(q.value));
      for (const Probe& q : probes) {
        const double error = std::fabs(got[q.index] - q.value);
        check(error <= (sharp ? 3e-5 : 1e-5) * std::max(size * 0.1, std::fabs(q.value)), "%s[%zu]: %g, expected %g (K %u, C %u, %s)", name, q.index,
              static_cast<double>(got[q.index]), q.value, s.k, s.c, where.c_str());
      }
    };
    compare("dx", dx, px), compare("dp", dp, pp), compare("drescale", dr, pr);
  });
}

void test_inverse(const Case& c, bool sharp) {
  const Shape& s = c.s;
  std::vector<double> y, logdet;
  forward(s, wide(c.x), wide(c.p), wide(c.rescale), y, logdet);
  Array target({s.n, s.p, s.c});
  for (size_t i = 0; i < y.size(); ++i) target[i] = static_cast<float>(y[i]);
  const std::vector<double> p = wide(c.p), rescale = wide(c.rescale);
  for_devices([&](const cpu::Device& device, const std::string& where) {
    Array x({s.n, s.p, s.c}), l({s.n});
    DenseOp op(Op::mixture_inverse, cpu::make_mixture_inverse, {&target, &c.p, &c.rescale}, {&x, &l}, {s.k}, device);
    op.run();
    std::vector<double> expected(s.n, 0), size(s.n, 0);
    double worst_residual = 0, worst_x = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      const Element e = element(s, p, rescale, i / s.c, i % s.c);
      const double v = target[i] * std::exp(-e.a) - e.b, bound = std::log((1 - 1e-5) / 1e-5), clamped = std::min(std::max(v, -bound), bound);
      const Reference at = evaluate(e, x[i]), next = evaluate(e, std::nextafter(x[i], INFINITY));
      // What one unit in the last place of x does to the logit is the best that float32 can do.
      const double unit = std::fabs(next.log_f - next.log_g - at.log_f + at.log_g);
      const double residual = std::fabs(at.log_f - at.log_g - clamped) / (1 + 2 * unit * 1e5);
      worst_residual = std::max(worst_residual, residual);
      if (std::fabs(v) < bound && !sharp) worst_x = std::max<double>(worst_x, std::fabs(x[i] - c.x[i]));
      const double term = e.a + softplus(v) + softplus(-v) + at.log_p;
      expected[i / (s.p * s.c)] -= term;
      size[i / (s.p * s.c)] += std::fabs(term);
    }
    check(worst_residual < 1e-5, "inverse: residual %g (K %u, C %u, %s)", worst_residual, s.k, s.c, where.c_str());
    check(worst_x < 1e-4, "inverse: x off by %g (K %u, C %u, %s)", worst_x, s.k, s.c, where.c_str());
    for (size_t n = 0; n < s.n; ++n)
      check(std::fabs(l[n] - expected[n]) < (sharp ? 1e-5 : 2e-6) * size[n], "inverse logdet %g, expected %g (%s)", static_cast<double>(l[n]), expected[n], where.c_str());
  });
}

void test_extremes() {
  // One far tail each way, a deep gap between sharp components, a NaN: each in an element of its own.
  const Shape s{1, 4, 1, 2};
  Array x({1, 4, 1}), p({1, 4, 8}), rescale({1});
  rescale[0] = 1;
  for (size_t i = 0; i < 4; ++i) p[i * 8 + 4] = -1, p[i * 8 + 5] = 1, p[i * 8 + 6] = p[i * 8 + 7] = -20;
  x[0] = 50, x[1] = -50, x[2] = 0.25f;
  const uint32_t unusual = 0xffffffffu;  // a NaN whose bits an exponent could be mistaken from
  std::memcpy(&x.data[3], &unusual, 4);
  std::vector<double> y, logdet;
  forward(s, wide(x), wide(p), wide(rescale), y, logdet);
  Array dy({1, 4, 1}), dl({1});
  for (size_t i = 0; i < 4; ++i) dy[i] = 1;
  dl[0] = 1;
  for (cpu::Isa isa : isas()) {
    Array got({1, 4, 1}), l({1}), dx({1, 4, 1}), dp({1, 4, 8}), dr({1}), back({1, 4, 1}), lb({1});
    DenseOp(Op::mixture, cpu::make_mixture, {&x, &p, &rescale}, {&got, &l}, {s.k}, device(isa, 1)).run();
    for (size_t i = 0; i < 3; ++i) check(std::fabs(got[i] - y[i]) < 3e-6 * (1 + std::fabs(y[i])), "extreme y[%zu]: %g, expected %g", i, static_cast<double>(got[i]), y[i]);
    check(std::isnan(got[3]) && std::isnan(l[0]), "NaN was lost");
    DenseOp(Op::mixture_grad, cpu::make_mixture_grad, {&x, &p, &rescale, &dy, &dl}, {&dx, &dp, &dr}, {s.k}, device(isa, 1)).run();
    // dy/dx = e^7·(z > 0 side only); the log-determinant's terms cancel in the tails.
    const double steep = std::exp(7.0);
    check(std::fabs(dx[0] - steep) < 1e-3 * steep && std::fabs(dx[1] - steep) < 1e-3 * steep, "extreme dx: %g, %g", static_cast<double>(dx[0]), static_cast<double>(dx[1]));
    check(std::isfinite(dx[2]) && dp[0 * 8 + 6] == 0 && dp[2 * 8 + 7] == 0, "extreme gradients: clamped scales must have none");
    check(std::isnan(dx[3]), "NaN was lost");
    DenseOp(Op::mixture_inverse, cpu::make_mixture_inverse, {&got, &p, &rescale}, {&back, &lb}, {s.k}, device(isa, 1)).run();
    check(std::fabs(back[0] - 1) < 0.02 && std::fabs(back[1] + 1) < 0.02 && std::isnan(back[3]), "extreme inverse: %g %g", static_cast<double>(back[0]), static_cast<double>(back[1]));
  }
}

void test_refusals() {
  Array x({1, 2, 3}), p({1, 2, 15}), rescale({3}), y({1, 2, 3}), l({1}), wrong({2});
  auto make = [&](const std::vector<const Array*>& in, const std::vector<Array*>& out, std::vector<uint32_t> attrs) {
    return refused([&] { DenseOp(Op::mixture, cpu::make_mixture, in, out, std::move(attrs), device(cpu::Isa::portable, 1)); });
  };
  check(!make({&x, &p, &rescale}, {&y, &l}, {1}), "a good mixture was refused");
  check(make({&x, &p, &rescale}, {&y, &l}, {2}), "wrong parameter count accepted");
  check(make({&x, &p, &wrong}, {&y, &l}, {1}), "wrong rescale accepted");
  check(make({&x, &p}, {&y, &l}, {1}), "missing operand accepted");
  check(make({&x, &p, &rescale}, {&y, &wrong}, {1}), "wrong logdet accepted");
  check(make({&x, &p, &rescale}, {&y, &l}, {}), "missing attribute accepted");
  check(make({&x, &p, &rescale}, {&y, &l}, {0}), "no component accepted");
}

}  // namespace

int main() {
  std::mt19937 g(7);
  for (const Shape& s : {Shape{2, 9, 6, 32}, Shape{3, 20, 1, 4}, Shape{1, 7, 3, 8}, Shape{2, 50, 2, 5}, Shape{2, 3, 12, 1}, Shape{1, 5, 24, 64}, Shape{1, 3, 48, 3}, Shape{2, 4, 5, 7}, Shape{1, 2, 37, 2}})
    for (bool sharp : {false, true}) {
      const Case c = make_case(s, g, sharp);
      test_forward(c, sharp);
      test_gradient(c, g, sharp);
      test_inverse(c, sharp);
    }
  test_extremes();
  test_refusals();
  return finish("mixture");
}
