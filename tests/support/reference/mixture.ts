// The mixture-of-logistics coupling: forward, adjoint and inverse of one element at a time, in float64.

/** Sizes: x [N,P,C], p [N,P,C·(2+3K)] ordered a | b | π… | μ… | s…, each a group of C. */
export interface MixtureCase {
  readonly images: number;
  readonly positions: number;
  readonly channels: number;
  readonly components: number;
}

const LOWEST_LOG_SCALE = -7;
/** The inverse solves for probabilities in [1e-5, 1 − 1e-5] only, as the reference does: in logits, ±this. */
const HIGHEST_LOGIT = Math.log((1 - 1e-5) / 1e-5);
const BISECTIONS = 200;

const softplus = (a: number): number => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a));

function logSumExp(values: readonly number[]): number {
  const top = Math.max(...values);
  return top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
}

/** The parameters of one element. */
interface Element {
  readonly aRaw: number;
  readonly a: number;
  readonly b: number;
  readonly logPi: readonly number[];
  readonly mu: readonly number[];
  /** After the clamp. */
  readonly s: readonly number[];
  /** Where each parameter stands in p. */
  readonly at: (group: number) => number;
}

/** The functions of x at one element: log F, log(1 − F), log F′ and their terms. */
function curves(x: number, e: Element) {
  const z = e.mu.map((mu, k) => (x - mu) * Math.exp(-e.s[k]!));
  const below = z.map((v, k) => e.logPi[k]! - softplus(-v));
  const above = z.map((v, k) => e.logPi[k]! - softplus(v));
  const density = z.map((v, k) => e.logPi[k]! + v - e.s[k]! - 2 * softplus(v));
  return { z, below, above, density, logF: logSumExp(below), logS: logSumExp(above), logPdf: logSumExp(density) };
}

function eachElement(
  m: MixtureCase,
  p: Float64Array,
  rescale: Float64Array,
  visit: (index: number, image: number, channel: number, e: Element) => void,
): void {
  const { positions, channels, components: k } = m;
  const width = channels * (2 + 3 * k);
  for (let row = 0; row < m.images * positions; row++) {
    for (let c = 0; c < channels; c++) {
      const at = (group: number): number => row * width + group * channels + c;
      const groups = (first: number): number[] => Array.from({ length: k }, (_, j) => p[at(first + j)]!);
      const pi = groups(2);
      const total = logSumExp(pi);
      const aRaw = p[at(0)]!;
      visit(row * channels + c, Math.floor(row / positions), c, {
        aRaw,
        a: rescale[c]! * Math.tanh(aRaw),
        b: p[at(1)]!,
        logPi: pi.map((v) => v - total),
        mu: groups(2 + k),
        s: groups(2 + 2 * k).map((v) => Math.max(v, LOWEST_LOG_SCALE)),
        at,
      });
    }
  }
}

/** [y, log-det of each image]. */
export function mixture(x: Float64Array, p: Float64Array, rescale: Float64Array, m: MixtureCase): Float64Array[] {
  const y = new Float64Array(x.length);
  const logDet = new Float64Array(m.images);
  eachElement(m, p, rescale, (i, image, _, e) => {
    const { logF, logS, logPdf } = curves(x[i]!, e);
    y[i] = (logF - logS + e.b) * Math.exp(e.a);
    logDet[image]! += logPdf - logF - logS + e.a;
  });
  return [y, logDet];
}

/** [dx, dp, drescale] from the cotangents of y and the log-dets. */
export function mixtureGrad(
  [x, p, rescale, dy, dlogDet]: readonly [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array],
  m: MixtureCase,
): Float64Array[] {
  const dx = new Float64Array(x.length);
  const dp = new Float64Array(p.length);
  const drescale = new Float64Array(rescale.length);
  const { components } = m;
  eachElement(m, p, rescale, (i, image, c, e) => {
    const { z, below, above, density, logF, logS, logPdf } = curves(x[i]!, e);
    const scale = Math.exp(e.a);
    const gy = dy[i]!;
    const gl = dlogDet[image]!;
    // Cotangents of log F, log(1 − F) and log F′.
    const gF = gy * scale - gl;
    const gS = -gy * scale - gl;
    let sumLogPi = 0;
    const dlogPi = z.map((v, k) => {
      const inF = Math.exp(below[k]! - logF);
      const inS = Math.exp(above[k]! - logS);
      const inPdf = Math.exp(density[k]! - logPdf);
      const dz = gF * inF * sigmoid(-v) - gS * inS * sigmoid(v) + gl * inPdf * (1 - 2 * sigmoid(v));
      const inverse = Math.exp(-e.s[k]!);
      dx[i]! += dz * inverse;
      dp[e.at(2 + components + k)] = -dz * inverse;
      const s = e.at(2 + 2 * components + k);
      dp[s] = p[s]! < LOWEST_LOG_SCALE ? 0 : -dz * v - gl * inPdf;
      const g = gF * inF + gS * inS + gl * inPdf;
      sumLogPi += g;
      return g;
    });
    dlogPi.forEach((g, k) => {
      dp[e.at(2 + k)] = g - Math.exp(e.logPi[k]!) * sumLogPi;
    });
    const da = gy * (logF - logS + e.b) * scale + gl;
    const tanh = Math.tanh(e.aRaw);
    dp[e.at(0)] = da * rescale[c]! * (1 - tanh * tanh);
    dp[e.at(1)] = gy * scale;
    drescale[c]! += da * tanh;
  });
  return [dx, dp, drescale];
}

/** [x, log-det of each image]: bisection in x on the logit of F. */
export function mixtureInverse(
  y: Float64Array,
  p: Float64Array,
  rescale: Float64Array,
  m: MixtureCase,
): Float64Array[] {
  const x = new Float64Array(y.length);
  const logDet = new Float64Array(m.images);
  eachElement(m, p, rescale, (i, image, _, e) => {
    const v = y[i]! * Math.exp(-e.a) - e.b;
    const target = Math.min(Math.max(v, -HIGHEST_LOGIT), HIGHEST_LOGIT);
    const reach = 20 * e.s.reduce((sum, s) => sum + Math.exp(s), 0);
    let low = Math.min(...e.mu) - reach;
    let high = Math.max(...e.mu) + reach;
    for (let step = 0; step < BISECTIONS && high > low; step++) {
      const middle = (low + high) / 2;
      if (middle === low || middle === high) break;
      const { logF, logS } = curves(middle, e);
      if (logF - logS > target) high = middle;
      else low = middle;
    }
    x[i] = (low + high) / 2;
    logDet[image]! -= e.a + softplus(v) + softplus(-v) + curves(x[i]!, e).logPdf;
  });
  return [x, logDet];
}
