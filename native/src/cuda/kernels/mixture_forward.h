// y = (logit F(x) + b)·e^a, one reading of the parameters.
#pragma once
#include "cuda/kernels/mixture.h"

#if defined(CF_KERNEL)
CF_KERNEL(const cf::cuda::MixtureArgs a) {
  using namespace cf::cuda;
  double logdet = 0.0;
  for (uint32_t round = 0; round < a.rounds; ++round) {
    const Element at = element_at(a, round);
    const float x = a.x[at.at];
    const Components c = components_of(a, at);
    float up[kEach], down[kEach];
    const Logs l = logs_of(x, c, sums_at(x, c, up, down));
    if (at.part != 0 || !at.there) continue;
    const float gate = a.rescale[at.channel] * tanhf(a.p[at.record]);
    a.y[at.at] = (l.logit + a.p[at.record + a.channels]) * expf(gate);
    logdet += l.slope + gate;
  }
  put_logdet(a, logdet);
}
#endif
