import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseConfig } from "../../src/coopflow/config.ts";
import { DigitFeatures } from "../../src/coopflow/digit_features.ts";
import { evaluate } from "../../src/coopflow/evaluation.ts";
import { CoopFlow } from "../../src/coopflow/model.ts";
import { RunDirectory } from "../../src/coopflow/run_directory.ts";
import { SampleDistance } from "../../src/coopflow/sample_distance.ts";
import { train } from "../../src/coopflow/trainer.ts";
import { digits } from "../../src/data/digits.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { OnnxFeatures } from "../../src/metrics/onnx_features.ts";
import { withFolder } from "../io/support.ts";
import { means } from "../metrics/onnx_model.ts";
import { THREADS } from "./native.ts";
import { TINY, tinyImages } from "./support.ts";

const DIGITS = { ...TINY, data: { height: 8, width: 8, channels: 1, levels: 17 } } as const;

describe("SampleDistance", () => {
  it("is what an evaluation finds, by pixels and both kinds of networks", async () => {
    await withFolder(async (folder) => {
      const features = `${folder}/means.onnx`;
      await Deno.writeFile(features, means(["n", 3, "h", "w"]));
      const data = await digits();
      await using model = await CoopFlow.create(DIGITS, THREADS);
      for await (const _ of model.fit(data.train, { iterations: 2 }));
      await using networks = new AsyncDisposableStack();
      const extractors = [
        networks.use(await DigitFeatures.open({ device: "cpu", ...THREADS })),
        networks.use(await OnnxFeatures.open(features, data.heldout)),
      ];
      const { distances } = await evaluate(model, data.heldout, { count: 50, metrics: ["distances"], extractors });
      const expected = distances.filter(({ generated }) => generated === "revised").map(({ frechet }) =>
        frechet!.value
      );
      for (const [i, metric] of (["frechet", "digitFid", "fid"] as const).entries()) {
        const distance = await SampleDistance.open({ metric, features }, data.heldout, 1);
        const found = await distance.of(model, 50);
        assertAlmostEquals(found, expected[i]!, 1e-6 * expected[i]!);
        assertEquals(await distance.of(model, 50), found);
      }
    });
  });

  it("refuses images without such features, and networks that can't be used, before anything is learnt", async () => {
    const small = tinyImages(10);
    const digitFid = { metric: "digitFid", features: "off" } as const;
    await assertRejects(() => SampleDistance.open(digitFid, small, 1), ConfigError, "for 10 images of 4×4×1, found");
    const large = { ...small, height: 32, width: 32 };
    const frechet = { metric: "frechet", features: "off" } as const;
    await assertRejects(() => SampleDistance.open(frechet, large, 1), ConfigError, "expected off, fid or bitsPerDim");
    await withFolder(async (folder) => {
      const config = parseConfig({
        ...TINY,
        training: { ...TINY.training, best: { metric: "fid", features: `${folder}/none.onnx`, every: 2 } },
      });
      await using run = await RunDirectory.create(`${folder}/run`, config);
      const data = { train: tinyImages(), heldout: small };
      const events = train({ run, config, data, dataPath: null, ...THREADS });
      await assertRejects(() => Array.fromAsync(events), DataError, "no such file");
    });
  });
});
