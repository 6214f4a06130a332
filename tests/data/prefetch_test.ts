import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DataError, UsageError } from "../../src/errors.ts";
import { BatchStream } from "../../src/data/batches.ts";
import { type Dataset, fromLevels } from "../../src/data/dataset.ts";
import { Prefetch } from "../../src/data/prefetch.ts";
import { pixels } from "./files.ts";

const set = fromLevels({ name: "set", height: 1, width: 2, channels: 1, levels: 256, data: pixels(10, 2) });
const options = { seed: 5, batch: 3 };

function expected(iteration: number, dataset: Dataset = set): number[] {
  const stream = new BatchStream(dataset, options);
  const into = new Float32Array(stream.elements);
  stream.fill(iteration, into);
  return [...into];
}

describe("Prefetch", () => {
  it("gives the batch of each iteration, prepared or not", async () => {
    const batches = new Prefetch(new BatchStream(set, options));
    for (const [iteration, prepared] of [[0, 1], [1, 2], [2, 9], [3, 4], [7, 8]] as const) {
      const { images, seconds } = batches.take(iteration);
      await batches.prepareSoon(prepared);
      // The batch in use stays as it is while the next one is read.
      assertEquals([...images], expected(iteration));
      assert(seconds >= 0);
    }
  });

  it("tells of a batch that can't be read when it is taken, not before", async () => {
    let fails = false;
    const broken: Dataset = {
      ...set,
      count: set.count,
      read(index, into, offset) {
        if (fails) throw new DataError("gone");
        set.read(index, into, offset);
      },
    };
    const batches = new Prefetch(new BatchStream(broken, options));
    fails = true;
    await batches.prepareSoon(1);
    assertThrows(() => batches.take(1), DataError, "gone");
    fails = false;
    assertEquals([...batches.take(1).images], expected(1));
  });
});

describe("BatchStream, sharded", () => {
  it("gives the ranks the parts of one large batch, mirrored as there", () => {
    const ranks = 3;
    const whole = new BatchStream(set, { seed: 5, batch: 2 * ranks, flip: true });
    const all = new Float32Array(whole.elements);
    for (const iteration of [0, 1, 7]) {
      const indices = whole.fill(iteration, all);
      for (let rank = 0; rank < ranks; rank++) {
        const part = new BatchStream(set, { seed: 5, batch: 2, flip: true, shard: { rank, ranks } });
        const into = new Float32Array(part.elements);
        assertEquals([...part.fill(iteration, into)], [...indices.subarray(2 * rank, 2 * rank + 2)]);
        assertEquals([...into], [...all.subarray(4 * rank, 4 * rank + 4)]);
      }
    }
  });

  it("refuses ranks that are not there", () => {
    for (
      const shard of [{ rank: 2, ranks: 2 }, { rank: -1, ranks: 2 }, { rank: 0.5, ranks: 2 }, { rank: 0, ranks: 0 }]
    ) {
      assertThrows(() => new BatchStream(set, { seed: 0, batch: 1, shard }), UsageError, "expected a rank from 0 to");
    }
  });
});
