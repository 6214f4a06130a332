// Layer norm over the last axis, and its adjoint.

/** Mean, 1/√(variance + eps) of row `r` of [P, c]. */
function moments(x: Float64Array, r: number, c: number, eps: number): [mean: number, inverseStd: number] {
  let mean = 0;
  for (let i = 0; i < c; i++) mean += x[r * c + i]! / c;
  let variance = 0;
  for (let i = 0; i < c; i++) variance += (x[r * c + i]! - mean) ** 2 / c;
  return [mean, 1 / Math.sqrt(variance + eps)];
}

/** (x − mean)/√(var + eps)·gain + bias. */
export function layerNorm(x: Float64Array, gain: Float64Array, bias: Float64Array, eps: number): Float64Array {
  const c = gain.length;
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length / c; r++) {
    const [mean, inverseStd] = moments(x, r, c, eps);
    for (let i = 0; i < c; i++) y[r * c + i] = (x[r * c + i]! - mean) * inverseStd * gain[i]! + bias[i]!;
  }
  return y;
}

/** [dx, dgain, dbias]: with n the normalised x and h = dy·gain, dx = (h − mean(h) − n·mean(h·n))/std. */
export function layerNormGrad(x: Float64Array, gain: Float64Array, dy: Float64Array, eps: number): Float64Array[] {
  const c = gain.length;
  const dx = new Float64Array(x.length);
  const dgain = new Float64Array(c);
  const dbias = new Float64Array(c);
  for (let r = 0; r < x.length / c; r++) {
    const [mean, inverseStd] = moments(x, r, c, eps);
    let meanH = 0;
    let meanHn = 0;
    for (let i = 0; i < c; i++) {
      const n = (x[r * c + i]! - mean) * inverseStd;
      const d = dy[r * c + i]!;
      meanH += d * gain[i]! / c;
      meanHn += d * gain[i]! * n / c;
      dgain[i]! += d * n;
      dbias[i]! += d;
    }
    for (let i = 0; i < c; i++) {
      const n = (x[r * c + i]! - mean) * inverseStd;
      dx[r * c + i] = (dy[r * c + i]! * gain[i]! - meanH - n * meanHn) * inverseStd;
    }
  }
  return [dx, dgain, dbias];
}
