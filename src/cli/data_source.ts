/** The data that a command works on: at a path, or the built-in digits. */
import { UsageError } from "../errors.ts";
import type { CoopFlowConfig } from "../coopflow/config.ts";
import { checkDataset } from "../coopflow/inference.ts";
import { imageElements, type Split } from "../data/dataset.ts";
import { digits } from "../data/digits.ts";
import { openDataset } from "../data/open.ts";

/**
 * The built-in digits.
 *
 * @param option the option that would have given other data, for errors
 * @throws {UsageError} if the configuration's images are of another size
 */
export async function builtIn(config: CoopFlowConfig, option = "--data"): Promise<Split> {
  const data = await digits();
  const { height, width, channels } = config.data;
  const { train: images } = data;
  if (height !== images.height || width !== images.width || channels !== images.channels) {
    throw new UsageError(`expected ${option} with images of ${height}×${width}×${channels}, found none given`);
  }
  return data;
}

/**
 * The first `count` images of a data set, held-out ones if there are any: [count, height, width, channels] in [−1, 1].
 *
 * @param path the data set; absent: the built-in digits
 * @throws {UsageError} if there are fewer
 */
export async function firstImages(
  config: CoopFlowConfig,
  path: string | undefined,
  count: number,
): Promise<Float32Array> {
  const { train, heldout } = path === undefined ? await builtIn(config, "--images") : await openDataset(path);
  const data = heldout ?? train;
  checkDataset(config, data);
  if (count > data.count) {
    throw new UsageError(`--count: expected at most the ${data.count} images of ${data.name}, found ${count}`);
  }
  const size = imageElements(data);
  const images = new Float32Array(count * size);
  for (let i = 0; i < count; i++) data.read(i, images, i * size);
  return images;
}
