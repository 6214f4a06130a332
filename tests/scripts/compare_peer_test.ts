import { describe, it } from "@std/testing/bdd";
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseOptions } from "../../scripts/compare_peer.ts";
import { REPOSITORY } from "../../scripts/setup.ts";
import { tryCommand } from "../../scripts/support/command.ts";
import {
  COLUMNS,
  compareRuns,
  type Comparison,
  comparisonLines,
  type OwnReport,
  type RunReport,
} from "../../scripts/support/comparison.ts";
import { SetupError } from "../../scripts/support/setup_error.ts";
import { namesIn, withFolder } from "../io/support.ts";

const run = (langevin_s: number, peak_host_mb = 100): RunReport => ({
  flow_sample_s: 1,
  langevin_s,
  flow_update_s: 1,
  ebm_update_s: 1,
  iteration_s: 3 + langevin_s,
  peak_host_mb,
});

const ownRun = (langevin_s: number): OwnReport => ({
  ...run(langevin_s),
  program: "ours 1",
  peak_gemm_one_thread_gflops: 80,
  peak_gemm_gflops: 160,
  peak_copy_gbs: 20,
});

const column = (name: string) => {
  const found = COLUMNS.find((column) => column.name === name);
  assert(found !== undefined);
  return found;
};

describe("compareRuns", () => {
  it("takes medians, their ratio, and says whether the target is met", () => {
    const runs = { ours: [1, 9, 2].map(ownRun), peer: [5, 4, 90].map((s) => run(s, 399)), bf16: [] };
    const cells = compareRuns(column("paper-4"), runs);
    assertEquals(cells.langevin_s, { ours: 2, peer: 5, ratio: 2.5, target: 2.4, passed: true });
    assertEquals(cells.flow_sample_s, { ours: 1, peer: 1, ratio: 1, target: 6, passed: false });
    assertEquals(cells.peak_host_mb?.passed, false);
    assertEquals(cells.langevin_bf16_s, undefined);
  });

  it("compares the chain with the peer's bfloat16, against a target at paper size only", () => {
    const runs = { ours: [ownRun(2)], peer: [run(5)], bf16: [run(3), run(2.6)] };
    const bf16 = (name: string) => compareRuns(column(name), runs).langevin_bf16_s;
    const cell = bf16("paper-4");
    assertAlmostEquals(cell?.ratio ?? NaN, 1.4, 1e-12);
    assertEquals([cell?.ours, cell?.peer, cell?.target], [2, 2.8, 1.4]);
    assertEquals([bf16("digits-64")?.target, bf16("digits-64")?.passed], [null, null]);
  });
});

describe("comparisonLines", () => {
  const comparison: Comparison = {
    date: "2026-01-02",
    machine: "a machine",
    programs: ["ours 1", "peer 2"],
    rounds: 3,
    peaks: { gemm_one_thread: 80.4, gemm: 160, gemm_peer: 140, copy: 20.04 },
    columns: ["digits-64", "paper-16"].map((name) => {
      const runs = { ours: [ownRun(1)], peer: [run(4, 500)], bf16: name === "paper-16" ? [run(3)] : [] };
      return { column: column(name), cells: compareRuns(column(name), runs), runs };
    }),
  };

  it("is a table of both programs' figures with ratios, targets and verdicts", () => {
    const lines = comparisonLines(comparison, true);
    assertEquals(lines.slice(0, 3), ["ours 1 against peer 2, 2026-01-02", "", "a machine"]);
    assertEquals(
      lines[4],
      "Measured peaks: matrix product 80 GFLOP/s on one thread, 160 on all (peer: 140), copy 20.0 GB/s.",
    );
    assertEquals(lines.slice(6).filter((line) => /Langevin|memory|header|---/.test(line)), [
      "| --- | ---: | ---: |",
      "| 30 Langevin steps | 1.00 s / 4.00 s = 4.00× (≥ 5: FAIL) | 1.00 s / 4.00 s = 4.00× (≥ 3: pass) |",
      "| peak memory | 100 MB / 500 MB = 5.00× (≥ 4: pass) | 100 MB / 500 MB = 5.00× (≥ 5: pass) |",
      "| 30 Langevin steps, peer in bf16 | – | 1.00 s / 3.00 s = 3.00× (≥ 1.4: pass) |",
    ]);
    assertEquals(
      lines.at(-1),
      "Medians of 3 rounds, both programs in turn.",
    );
    assertEquals(comparisonLines(comparison, false).length, lines.length - 1);
  });
});

describe("compare", () => {
  const parse = (...args: string[]) => parseOptions(args, () => undefined);

  it("reads its options, and the environment behind them", () => {
    const options = parse("--columns", "small-16,digits-64", "--rounds", "5", "--bf16", "--threads", "2");
    assertEquals(options?.columns.map(({ name }) => name), ["small-16", "digits-64"]);
    assertEquals([options?.rounds, options?.bf16, options?.threads], [5, true, 2]);
    const defaults = parse();
    assertEquals(defaults?.columns, COLUMNS);
    assertEquals([defaults?.rounds, defaults?.bf16, defaults?.python], [3, false, "python3"]);
    const env: Record<string, string> = { COOPFLOW_PEER: "/a.py", COOPFLOW_PEER_PYTHON: "/b/python" };
    const given = parseOptions(["--python", "/c/python"], (name) => env[name]);
    assertEquals([given?.peer, given?.python], ["/a.py", "/c/python"]);
    assertEquals(parse("-h"), undefined);
  });

  for (
    const [args, message] of [
      [["--colums", "x"], "Unknown option '--colums'"],
      [["--columns", "digits-64,huge"], 'expected some of digits-64, small-16, paper-4, paper-16, found "huge"'],
      [["--rounds", "0"], '--rounds: expected a whole number from 1 to 9999, found "0"'],
      [["digits-64"], "digits-64"],
    ] as const
  ) {
    it(`refuses ${args.join(" ")}`, () => {
      assertThrows(() => parse(...args), SetupError, message);
    });
  }

  /** A stand-in for Python with torch of a version: tells the same figures whatever it is asked. */
  async function python(folder: string, version: string, langevin = 1000): Promise<string> {
    const report = JSON.stringify({ ...run(langevin), gemm_gflops: 10 });
    const path = `${folder}/python`;
    await Deno.writeTextFile(
      path,
      `#!/bin/sh\ncase "$1" in -c) echo ${version};; *) echo "$@" >> ${folder}/calls; echo '${report}';; esac\n`,
    );
    await Deno.chmod(path, 0o755);
    await Deno.writeTextFile(`${folder}/peer.py`, "");
    return path;
  }

  async function compare(folder: string, ...args: string[]) {
    const script = `${REPOSITORY}scripts/compare_peer.ts`;
    const result = await tryCommand(Deno.execPath(), ["run", "-A", "--no-check", script, "--no-install", ...args], {
      cwd: folder,
      env: { NO_COLOR: "1" },
    });
    assert(result !== undefined);
    return result;
  }

  it("says what is missing and how to get it", async () => {
    await withFolder(async (folder) => {
      const old = await python(folder, "2.3.0+cpu");
      const missing = await compare(folder, "--python", old, "--peer", "none.py");
      assertEquals(missing.code, 1);
      assertStringIncludes(missing.stderr, "expected the PyTorch program, found nothing at");
      const other = await compare(folder, "--python", old, "--peer", "peer.py", "--columns", "digits-64");
      assertEquals(other.code, 1);
      assertStringIncludes(other.stderr, "found 2.3.0+cpu; install it: ");
      assertStringIncludes(other.stderr, "pip install torch==2.11.0");
      const odd = await python(folder, "2.11.0", -1);
      const strange = await compare(folder, "--python", odd, "--peer", "peer.py", "--columns", "digits-64");
      assertEquals(strange.code, 1);
      assertStringIncludes(strange.stderr, "--warmup 1: expected a report, found langevin_s: ");
    });
  });

  it("runs both programs in turn and writes the table in every form", async () => {
    await withFolder(async (folder) => {
      const args = ["--columns", "digits-64", "--rounds", "1", "--threads", "1", "--bf16", "--out", "deep/table"];
      const { code, stdout, stderr } = await compare(
        folder,
        ...args,
        "--python",
        await python(folder, "2.11.0+cpu"),
        "--peer",
        "peer.py",
      );
      assertEquals(code, 0, stderr);
      assertEquals(namesIn(`${folder}/deep`), ["table.json", "table.md"]);
      const calls = (await Deno.readTextFile(`${folder}/calls`)).trim().split("\n");
      assertEquals(calls.map((line) => line.replace(/^\S+peer\.py /, "")), [
        "gemm",
        "bench --config digits --batch 64 --steps 30 --reps 15 --warmup 1",
        "bench --config digits --batch 64 --steps 30 --reps 1 --warmup 1 --bf16",
      ]);
      const { columns: [{ cells, runs }], peaks, programs }: Comparison & { columns: [Comparison["columns"][number]] } =
        JSON
          .parse(await Deno.readTextFile(`${folder}/deep/table.json`));
      assertEquals([cells.langevin_s?.peer, cells.langevin_s?.target, cells.langevin_s?.passed], [1000, 5, true]);
      assertEquals(cells.langevin_s?.ratio, 1000 / (cells.langevin_s?.ours ?? NaN));
      assertEquals([runs.ours.length, runs.peer.length, runs.bf16.length], [1, 1, 1]);
      assertEquals(runs.ours[0]?.langevin_s, cells.langevin_s?.ours);
      assert(peaks.gemm > 0 && peaks.copy > 0 && peaks.gemm_peer === 10);
      assertEquals(programs[1], "torch 2.11.0+cpu");
      assertStringIncludes(stdout, "whole iteration");
      assertStringIncludes(await Deno.readTextFile(`${folder}/deep/table.md`), "| whole iteration | ");
    });
  });
});
