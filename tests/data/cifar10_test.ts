import { gzipSync } from "node:zlib";
import { describe, it } from "@std/testing/bdd";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataError } from "../../src/errors.ts";
import { openDataset } from "../../src/data/open.ts";
import { withFolder } from "../io/support.ts";
import { bytesKey, cifarBinary, cifarPython, pixels, tar, type TarEntry } from "./files.ts";
import { failure, levelsOf } from "./support.ts";

describe("openDataset, of CIFAR-10's archives and Python version", () => {
  const images = pixels(3, 3072);
  const binary: TarEntry[] = [
    { path: "cifar-10-batches-bin/", type: "5" },
    { path: "cifar-10-batches-bin/data_batch_2.bin", data: cifarBinary(1, images.subarray(2 * 3072)) },
    { path: "cifar-10-batches-bin/data_batch_1.bin", data: cifarBinary(2, images.subarray(0, 2 * 3072)) },
    { path: "cifar-10-batches-bin/batches.meta.txt", data: new Uint8Array(700) },
    { path: "cifar-10-batches-bin/test_batch.bin", data: cifarBinary(1, images.subarray(3072, 2 * 3072)) },
  ];
  const python: TarEntry[] = [
    { path: "cifar-10-batches-py/data_batch_1", data: cifarPython(2, images.subarray(0, 2 * 3072)) },
    { path: "cifar-10-batches-py/data_batch_2", data: cifarPython(1, images.subarray(2 * 3072)) },
    { path: "cifar-10-batches-py/test_batch", data: cifarPython(1, images.subarray(3072, 2 * 3072)) },
  ];

  it("reads the archives as downloaded, files in the order of their numbers", async () => {
    await withFolder(async (folder) => {
      for (const [name, entries] of [["binary", binary], ["python", python]] as const) {
        const path = `${folder}/cifar-10-${name}.tar.gz`;
        await Deno.writeFile(path, gzipSync(tar(entries)));
        const { format, train, heldout } = await openDataset(path);
        assertEquals([format, train.count, heldout?.count], ["CIFAR-10 archive", 3, 1]);
        assertEquals(levelsOf(train), [...images]);
      }
      await Deno.writeFile(`${folder}/plain.tar`, tar(binary));
      assertEquals((await openDataset(`${folder}/plain.tar`)).train.count, 3);
    });
  });

  it("reads the long paths of pax and GNU, and checks them as well", async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/set.tar`;
      const long = (name: string): string => `${"deep/".repeat(30)}${name}`;
      const gnu = (name: string): TarEntry => ({
        path: "././@LongLink",
        type: "L",
        data: new TextEncoder().encode(`${name}\0`),
      });
      const pax = (name: string): TarEntry => {
        const length = ` path=${name}\n`.length + 3;
        return { path: "PaxHeader", type: "x", data: new TextEncoder().encode(`${length} path=${name}\n`) };
      };
      for (const tell of [gnu, pax]) {
        const open = async (name: string): Promise<number> => {
          await Deno.writeFile(path, tar([tell(name), { path: "short", data: cifarBinary(3, images) }]));
          return (await openDataset(path)).train.count;
        };
        assertEquals(await open(long("data_batch_1.bin")), 3);
        await assertRejects(() => open(long("../../data_batch_1.bin")), DataError, "which leads out of it; not opened");
      }
    });
  });

  it("reads a folder of the Python version", async () => {
    await withFolder(async (folder) => {
      for (const { path, data = new Uint8Array(0) } of python) {
        await Deno.writeFile(`${folder}/${path.split("/")[1]}`, data);
      }
      const { format, train, heldout } = await openDataset(folder);
      assertEquals([format, heldout?.count, levelsOf(train)], ["CIFAR-10 Python", 1, [...images]]);
    });
  });

  it("reads what Python 3 wrote again, with bytes for keys", async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/data_batch_1`, cifarPython(3, images, { key: bytesKey }));
      assertEquals(levelsOf((await openDataset(folder)).train), [...images]);
    });
  });

  it("refuses a pickle that names anything else, without running it", async () => {
    await withFolder(async (folder) => {
      const evil = cifarPython(1, images.subarray(0, 3072), { reconstruct: new TextEncoder().encode("cos\nsystem\n") });
      await Deno.writeFile(`${folder}/data_batch_1`, evil);
      await assertRejects(() => openDataset(folder), DataError, "os.system");
      await Deno.writeFile(`${folder}/data_batch_1`, cifarPython(1, images.subarray(0, 3072), { labels: [10] }));
      await assertRejects(() => openDataset(folder), DataError, "expected a label from 0 to 9 in record 0, found 10");
      await Deno.writeFile(`${folder}/data_batch_1`, cifarPython(1, images.subarray(0, 3072)).subarray(0, 900));
      await assertRejects(() => openDataset(folder), DataError, "cut short");
    });
  });

  const data = cifarBinary(1, images.subarray(0, 3072));
  const archive = gzipSync(tar(binary));
  const refused: readonly [string, Uint8Array, string][] = [
    [
      "with a path that climbs out",
      tar([{ path: "../data_batch_1.bin", data }]),
      'found "../data_batch_1.bin", which leads out of it; not opened',
    ],
    ["with an absolute path", tar([{ path: "/tmp/data_batch_1.bin", data }]), "which leads out of it"],
    ["with a link", tar([{ path: "data_batch_1.bin", type: "2" }]), 'found "data_batch_1.bin", a link or device'],
    [
      "without CIFAR-10 in it",
      tar([{ path: "x.bin", data }]),
      "expected an archive with CIFAR-10's data_batch_*, found none",
    ],
    [
      "with a batch twice",
      tar([{ path: "a/data_batch_1.bin", data }, { path: "b/data_batch_1.bin", data }]),
      "found it twice",
    ],
    [
      "with half a record",
      tar([{ path: "data_batch_1.bin", data: data.subarray(1) }]),
      "expected a multiple of 3073 bytes",
    ],
    ["cut short", archive.subarray(0, archive.length / 2), "cut short: its compressed data ends early"],
    [
      "with a damaged header",
      tar(binary).map((byte, i) => i === 520 ? byte ^ 1 : byte),
      "a header's checksum is wrong",
    ],
  ];
  for (const [what, bytes, message] of refused) {
    it(`refuses an archive ${what}`, async () => assertStringIncludes(await failure("set.tar", bytes), message));
  }
});
