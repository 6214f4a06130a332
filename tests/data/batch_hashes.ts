// Prints a hash of each training batch, from an iteration on: what the resume test kills and starts again.
//
//   deno run -A tests/data/batch_hashes.ts PATH CACHE FROM TO

import { createHash } from "node:crypto";
import { BatchStream } from "../../src/data/batches.ts";
import { openDataset } from "../../src/data/open.ts";

const [path = "", cache = "", from = "", to = ""] = Deno.args;
using data = await openDataset(path, { height: 4, cache });
const stream = new BatchStream(data.train, { seed: 11, batch: 4, flip: true });
const images = new Float32Array(stream.elements);
for (let iteration = Number(from); iteration < Number(to); iteration++) {
  stream.fill(iteration, images);
  console.log(`${iteration} ${createHash("sha256").update(new Uint8Array(images.buffer)).digest("hex").slice(0, 16)}`);
}
