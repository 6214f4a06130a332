/** Data sets by name and by path, as `datasets` of the library. */
export { digits } from "../data/digits.ts";
export { openDataset } from "../data/open.ts";
export { summarise } from "../data/describe.ts";
export { fromLevels, readAll, subset } from "../data/dataset.ts";
