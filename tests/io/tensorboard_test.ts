import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  cutEvents,
  fileHeader,
  hyperparameterRecord,
  maskedCrc,
  records,
  stepRecord,
} from "../../src/io/tensorboard.ts";
import { withFolder } from "./support.ts";

const PYTHON = Deno.env.get("COOPFLOW_PYTHON") ?? "python3";
const READER = new URL("./tensorboard_read.py", import.meta.url).pathname;
const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);

function hasTensorBoard(): boolean {
  try {
    const args = ["-c", "import tensorboard"];
    return new Deno.Command(PYTHON, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const FILE = joined([
  fileHeader(1000),
  hyperparameterRecord(1000, "digits-1", { seed: 3, "flow.attention": true, "energy.kind": "res" }),
  stepRecord(1001, 1, [{ tag: "loss", scalar: 0.5 }]),
  stepRecord(1002, 300, [
    { tag: "loss", scalar: -2 },
    { tag: "samples", png: PNG, height: 2, width: 3 },
    { tag: "pixels", values: [-1, 0, 0, 1] },
  ]),
]);

describe("TensorBoard's event files", () => {
  it("have the masked CRC-32C of TensorFlow", () => {
    // CRC-32C of "123456789" is e3069283.
    const expected = (((0xe3069283 >>> 15) | (0xe3069283 << 17)) + 0xa282ead8) >>> 0;
    assertEquals(maskedCrc(new TextEncoder().encode("123456789")), expected);
  });

  it("are the bytes that TensorFlow writes", () => {
    const [{ data } = { data: new Uint8Array() }] = records(stepRecord(2, 300, [{ tag: "a", scalar: 1 }]));
    // wall_time 2.0; step 300; summary { value { tag "a", simple_value 1.0 } }
    const summary = [0x0a, 8, 0x0a, 1, 0x61, 0x15, 0, 0, 0x80, 0x3f];
    assertEquals([...data], [0x09, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 0xac, 2, 0x2a, 10, ...summary]);
    const [first] = records(FILE);
    assert(new TextDecoder().decode(first?.data).endsWith("brain.Event:2"));
  });

  it("are cut back to a step, and to their last whole record", () => {
    assertEquals(cutEvents(FILE, 300), FILE);
    const cut = cutEvents(FILE, 299);
    assertEquals([...records(cut)].length, 3);
    assertEquals(cutEvents(FILE.subarray(0, FILE.length - 1), 300), cut);
    const flipped = FILE.slice();
    flipped[cut.length + 20] = (flipped[cut.length + 20] ?? 0) ^ 1;
    assertEquals(cutEvents(flipped, 300), cut);
    assertEquals(cutEvents(FILE, 0).length, [...records(FILE)][1]?.to);
  });

  it("are read by TensorBoard", { ignore: !hasTensorBoard() }, async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/events.out.tfevents.1`, FILE);
      const { success, stdout, stderr } = await new Deno.Command(PYTHON, { args: [READER, folder] }).output();
      assert(success, new TextDecoder().decode(stderr));
      assertEquals(JSON.parse(new TextDecoder().decode(stdout)), {
        scalars: { loss: [[1, 0.5], [300, -2]] },
        images: { samples: [[300, 3, 2, [...PNG]]] },
        histograms: { pixels: [[300, 4, -1, 1, 0, 4]] },
        hparams: { seed: 3, "flow.attention": true, "energy.kind": "res" },
        group: "digits-1",
      });
    });
  });
});
