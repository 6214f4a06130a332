/** Densities of the plane whose values are known, so that what a model has learnt can be compared with the truth itself. All lie in {@linkcode SQUARE}. */
import { normals, uniforms } from "../../random.ts";

/** Names of the densities. */
export const DENSITY_NAMES = ["eight-gaussians", "two-moons", "pinwheel", "checkerboard", "rings"] as const;
/** One of them. */
export type DensityName = typeof DENSITY_NAMES[number];
/** The one that is learnt unless another is named. */
export const DEFAULT_DENSITY: DensityName = "eight-gaussians";

/** Both coordinates lie between these; no density has more than 10⁻⁴ of its mass outside. */
export const SQUARE = { low: -4, high: 4 } as const;

/** A distribution of points. */
export interface PlaneDensity {
  readonly name: DensityName;
  /** p(x, y). */
  density(x: number, y: number): number;
  /** The point that three draws u from U[0, 1) and two draws n from N(0, 1) make. */
  point(u: readonly [number, number, number], n: readonly [number, number]): readonly [x: number, y: number];
}

const TURN = 2 * Math.PI;

/** ‖(x, y)‖² under an isotropic normal distribution of standard deviation s. */
function normal2(x: number, y: number, s: number): number {
  return Math.exp(-0.5 * (x * x + y * y) / (s * s)) / (TURN * s * s);
}

function normal1(x: number, s: number): number {
  return Math.exp(-0.5 * (x / s) ** 2) / (Math.sqrt(TURN) * s);
}

/** Eight normal distributions of standard deviation 0.3 around a circle of radius 2.4. */
const eightGaussians: Omit<PlaneDensity, "name"> = (() => {
  const [count, radius, s] = [8, 2.4, 0.3];
  const centre = (k: number): [number, number] => [
    radius * Math.cos(TURN * k / count),
    radius * Math.sin(TURN * k / count),
  ];
  const centres = Array.from({ length: count }, (_, k) => centre(k));
  return {
    density: (x, y) => centres.reduce((sum, [a, b]) => sum + normal2(x - a, y - b, s) / count, 0),
    point: ([u], [n, m]) => {
      const [a, b] = centres[Math.floor(u * count)]!;
      return [a + s * n, b + s * m];
    },
  };
})();

/** Two interleaved half circles of radius 2 with normal noise of standard deviation 0.2. */
const twoMoons: Omit<PlaneDensity, "name"> = (() => {
  const [radius, s, nodes] = [2, 0.2, 256];
  const on = (moon: number, t: number): [number, number] => {
    const [c, d] = [Math.cos(Math.PI * t), Math.sin(Math.PI * t)];
    return moon === 0 ? [radius * (c - 0.5), radius * (d - 0.25)] : [radius * (0.5 - c), radius * (0.25 - d)];
  };
  // The convolution of the half circles with the noise by the midpoint rule: nodes are an eighth of s apart.
  const arcs = [0, 1].flatMap((moon) => Array.from({ length: nodes }, (_, i) => on(moon, (i + 0.5) / nodes)));
  return {
    density: (x, y) => arcs.reduce((sum, [a, b]) => sum + normal2(x - a, y - b, s), 0) / arcs.length,
    point: ([u, v], [n, m]) => {
      const [a, b] = on(u < 0.5 ? 0 : 1, v);
      return [a + s * n, b + s * m];
    },
  };
})();

/**
 * Five arms, after Johnson et al. (2016): a normal distribution around (1.8, 0) with standard deviations 0.5 and 0.18, turned to each arm and then by
 * an angle that grows with the radius, which keeps areas.
 */
const pinwheel: Omit<PlaneDensity, "name"> = (() => {
  const [arms, mean, along, across, rate] = [5, 1.8, 0.5, 0.18, 0.25];
  const twist = (r: number): number => rate * Math.exp(r / mean);
  const turned = (x: number, y: number, angle: number): [number, number] => {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return [c * x - s * y, s * x + c * y];
  };
  return {
    density: (x, y) => {
      const back = twist(Math.hypot(x, y));
      let sum = 0;
      for (let k = 0; k < arms; k++) {
        const [a, b] = turned(x, y, -back - TURN * k / arms);
        sum += normal1(a - mean, along) * normal1(b, across) / arms;
      }
      return sum;
    },
    point: ([u], [n, m]) => {
      const [a, b] = [mean + along * n, across * m];
      return turned(a, b, twist(Math.hypot(a, b)) + TURN * Math.floor(u * arms) / arms);
    },
  };
})();

/** Uniform on eight of 4×4 squares of side 1.5. */
const checkerboard: Omit<PlaneDensity, "name"> = (() => {
  const [side, count] = [1.5, 4];
  const edge = -side * count / 2;
  const dark = count * count / 2;
  return {
    density: (x, y) => {
      const [i, j] = [Math.floor((x - edge) / side), Math.floor((y - edge) / side)];
      const inside = i >= 0 && i < count && j >= 0 && j < count && (i + j) % 2 === 0;
      return inside ? 1 / (dark * side * side) : 0;
    },
    point: ([u, v, w]) => {
      const k = Math.floor(u * dark);
      const j = Math.floor(2 * k / count);
      const i = (2 * k) % count + j % 2;
      return [edge + side * (i + v), edge + side * (j + w)];
    },
  };
})();

/** Four concentric circles, equally likely, whose radii vary with standard deviation 0.1. */
const rings: Omit<PlaneDensity, "name"> = (() => {
  const [radii, s] = [[0.75, 1.5, 2.25, 3], 0.1];
  return {
    density: (x, y) => {
      const r = Math.hypot(x, y);
      const ofRadius = radii.reduce((sum, radius) => sum + normal1(r - radius, s), 0) / radii.length;
      return r > 0 ? ofRadius / (TURN * r) : 0;
    },
    point: ([u, v], [n]) => {
      const r = radii[Math.floor(u * radii.length)]! + s * n;
      return [r * Math.cos(TURN * v), r * Math.sin(TURN * v)];
    },
  };
})();

/** The densities by name. */
export const densities: Readonly<Record<DensityName, PlaneDensity>> = {
  "eight-gaussians": { name: "eight-gaussians", ...eightGaussians },
  "two-moons": { name: "two-moons", ...twoMoons },
  pinwheel: { name: "pinwheel", ...pinwheel },
  checkerboard: { name: "checkerboard", ...checkerboard },
  rings: { name: "rings", ...rings },
};

/**
 * Draws `n` points, [n, 2].
 *
 * @param iteration of the draws: another one gives other points
 */
export function drawPoints(
  { point }: PlaneDensity,
  n: number,
  seed: number,
  stream: string,
  iteration = 0,
): Float32Array<ArrayBuffer> {
  const u = uniforms(seed, `${stream}/uniform`, 3 * n, { iteration });
  const e = normals(seed, `${stream}/normal`, 2 * n, { iteration });
  const points = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    points.set(point([u[3 * i]!, u[3 * i + 1]!, u[3 * i + 2]!], [e[2 * i]!, e[2 * i + 1]!]), 2 * i);
  }
  return points;
}
