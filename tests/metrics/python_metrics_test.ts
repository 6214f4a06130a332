// Distances against pytorch-fid's and torch-fidelity's own functions, where a Python with both is found: COOPFLOW_PYTHON, else python3.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { tensorOf, writeSafetensors } from "../../src/io/safetensors.ts";
import { featureSet } from "../../src/metrics/features.ts";
import { frechetDistance, type Moments, momentsOf } from "../../src/metrics/frechet.ts";
import { kernelDistance } from "../../src/metrics/kernel_distance.ts";
import { manifold, manifoldParts } from "../../src/metrics/neighbours.ts";
import { readStatistics, writeStatistics } from "../../src/metrics/statistics_file.ts";
import { normals } from "../../src/random.ts";
import { withFolder } from "../io/support.ts";

const PYTHON = Deno.env.get("COOPFLOW_PYTHON") ?? "python3";
const SCRIPT = new URL("./python_metrics.py", import.meta.url).pathname;

function hasPackages(): boolean {
  try {
    const args = ["-c", "import pytorch_fid, torch_fidelity, safetensors"];
    return new Deno.Command(PYTHON, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

const [N, D] = [600, 24];
/** Features like a network's: above 0, of different sizes, related to each other; of `rank` directions. */
function features(name: string, shift: number, rank = D): Float32Array<ArrayBuffer> {
  const [draws, mixing] = [normals(1, name, N * rank), normals(2, "mixing", rank * D)];
  return Float32Array.from({ length: N * D }, (_, at) => {
    const [i, j] = [Math.floor(at / D), at % D];
    let sum = shift;
    for (let k = 0; k < rank; k++) sum += draws[i * rank + k]! * mixing[k * D + j]! / Math.sqrt(rank);
    return rank < D ? sum : Math.max(0, sum);
  });
}

const SETS = { a: features("a", 0.5), b: features("b", 0.7), low_rank: features("low rank", 0.5, 5) };

interface Found {
  readonly pytorch_fid: number;
  readonly torch_fidelity_fid: number;
  readonly torch_fidelity_mmd: number;
  readonly precision: number;
  readonly recall: number;
}

const options = { ignore: !hasPackages(), reason: "no Python with pytorch-fid and torch-fidelity (COOPFLOW_PYTHON)" };

describe("pytorch-fid and torch-fidelity", () => {
  it("find the same distances, precision and recall, and exchange statistics", options, async () => {
    await withFolder(async (folder) => {
      const tensors = Object.entries(SETS).map(([name, values]) => [name, tensorOf([N, D], values)] as const);
      await writeSafetensors(`${folder}/features.safetensors`, new Map(tensors));
      const moments = (name: keyof typeof SETS): Moments => momentsOf(SETS[name], N, D);
      await writeStatistics(`${folder}/ours.npz`, moments("b"));
      const args = [SCRIPT, `${folder}/features.safetensors`, `${folder}/ours.npz`, `${folder}/theirs.npz`];
      const { code, stdout, stderr } = await new Deno.Command(PYTHON, { args }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      const found: Record<"b" | "low_rank", Found> & { readonly statistics: number } = JSON.parse(
        new TextDecoder().decode(stdout).trim().split("\n").at(-1) ?? "",
      );

      const set = (name: keyof typeof SETS) => featureSet(SETS[name], N, D);
      for (const name of ["b", "low_rank"] as const) {
        const theirs = found[name];
        const frechet = frechetDistance(moments("a"), moments(name));
        // Theirs takes the root of a product that has no full rank, whose eigenvalues near 0 are off by the root of what is rounded.
        const tolerance = name === "b" ? 1e-8 : 1e-4;
        assertAlmostEquals(theirs.pytorch_fid / frechet, 1, tolerance);
        assertAlmostEquals(theirs.torch_fidelity_fid / frechet, 1, tolerance);
        assertAlmostEquals(theirs.torch_fidelity_mmd / await kernelDistance(set("a"), set(name)), 1, 1e-8);
        const { precision, recall } = manifold(await manifoldParts(set("a"), set(name), 3));
        assertAlmostEquals(precision, theirs.precision, 1e-6);
        assertAlmostEquals(recall, theirs.recall, 1e-6);
        assert(name === "low_rank" || precision > 0.1 && precision < 1);
      }
      const ofB = frechetDistance(moments("a"), moments("b"));
      assertAlmostEquals(found.statistics / ofB, 1, 1e-8);
      assertAlmostEquals(frechetDistance(moments("a"), await readStatistics(`${folder}/theirs.npz`)) / ofB, 1, 1e-8);
    });
  });
});
