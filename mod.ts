/**
 * CoopFlow: a normalizing flow and an energy-based model that learn from each other (Xie, Zhu, Li, Li: "A Tale of Two Flows: Cooperative Learning of
 * Langevin Flow and Normalizing Flow Toward Energy-Based Model", ICLR 2022).
 *
 * ```ts
 * import { CoopFlow, datasets, presets } from "@coopflow/coopflow";
 *
 * const data = await datasets.digits();
 * await using model = await CoopFlow.create(presets.digits, { device: "auto", seed: 0 });
 * for await (const event of model.fit(data, { iterations: 850 })) console.log(event);
 * const { images, proposals } = await model.sample(64, { seed: 1 });
 * await model.save("digits.safetensors");
 * ```
 *
 * Importing this module opens nothing and needs no permission; the native library is opened when the first device is.
 *
 * @module
 */

// ---- the model

export { CoopFlow } from "./src/coopflow/model.ts";
export type { FitOptions, ModelOptions } from "./src/coopflow/model.ts";
export { importanceWeighted } from "./src/coopflow/density.ts";
export type { Densities, DensityOptions } from "./src/coopflow/density.ts";
export type { SampleBatch, SampleOptions, Samples, Trajectories } from "./src/coopflow/sampling.ts";
export type { ChainDiagnostics, ChainOptions, LayerMoments, MomentOptions } from "./src/coopflow/diagnose.ts";
export type { Found, SearchOptions, SearchStep } from "./src/coopflow/search.ts";
export type { InpaintOptions } from "./src/coopflow/inpaint.ts";
export type { InterpolateOptions, Interpolation } from "./src/coopflow/interpolate.ts";
export type { Counters } from "./src/coopflow/schedule.ts";

// ---- configuration

export { configJsonSchema, parseConfig } from "./src/coopflow/config.ts";
export type { CoopFlowConfig, CoopFlowConfigInput } from "./src/coopflow/config.ts";
export { presets } from "./src/coopflow/presets.ts";
export type { PresetName } from "./src/coopflow/preset_names.ts";

// ---- events

export type {
  CheckpointEvent,
  FinishedEvent,
  FitEvent,
  IterationEvent,
  IterationMetrics,
  MeasurementEvent,
  NoticeEvent,
  ProfileEvent,
  Report,
  ReportEvent,
  SamplesEvent,
  SetUpEvent,
  TrainEvent,
  WarningEvent,
  WarningKind,
} from "./src/coopflow/events.ts";

// ---- runs in a directory, checkpoints

export { train } from "./src/coopflow/trainer.ts";
export type { TrainOptions } from "./src/coopflow/trainer.ts";
export { newestCheckpoint, readRunConfig, RunDirectory } from "./src/coopflow/run_directory.ts";
export type { Newest, Reading, RunEnvironment } from "./src/coopflow/run_directory.ts";
export { readCheckpoint } from "./src/coopflow/checkpoint.ts";
export type { Checkpoint, CheckpointHeader } from "./src/coopflow/checkpoint.ts";
export { importReference } from "./src/coopflow/reference_import.ts";
export type { Imported, ImportOptions } from "./src/coopflow/reference_import.ts";
export { exportReference } from "./src/coopflow/reference_export.ts";
export type { ExportOptions } from "./src/coopflow/reference_export.ts";
export { measure } from "./src/coopflow/report.ts";
export type { MeasureOptions } from "./src/coopflow/report.ts";
export { evaluate } from "./src/coopflow/evaluation.ts";
export type { Distances, EvaluateOptions, Evaluation, NearestImages } from "./src/coopflow/evaluation.ts";
export { evaluationPage } from "./src/coopflow/evaluation_page.ts";
export { METRICS } from "./src/coopflow/metric_names.ts";
export type { Generated, Metric } from "./src/coopflow/metric_names.ts";
export { LIBRARY_VERSION } from "./src/coopflow/version.ts";

// ---- data

export * as datasets from "./src/coopflow/datasets.ts";
export type { Dataset, DescribedSplit, ImageSize, Split, Unusable } from "./src/data/dataset.ts";
export type { Summary } from "./src/data/describe.ts";
export type { PictureOptions } from "./src/data/format_pictures.ts";
export { readAll } from "./src/data/dataset.ts";
export { BatchStream } from "./src/data/batches.ts";
export type { BatchOptions, Shard } from "./src/data/batches.ts";
export { invertedImages, uniformNoise } from "./src/data/derived.ts";
export type { Watch } from "./src/data/in_order.ts";
export type { OpenedDataset, OpenOptions } from "./src/data/open.ts";

// ---- metrics and pictures

export { pixelFrechetDistance } from "./src/metrics/pixel_frechet.ts";
export { frechetDistance, momentsOf } from "./src/metrics/frechet.ts";
export type { Moments } from "./src/metrics/frechet.ts";
export { kernelDistance, subsetKernelDistance } from "./src/metrics/kernel_distance.ts";
export type { SubsetDistance } from "./src/metrics/kernel_distance.ts";
export { manifold, manifoldParts, nearest } from "./src/metrics/neighbours.ts";
export type { Manifold, ManifoldParts, Nearest } from "./src/metrics/neighbours.ts";
export type { Products, Rows } from "./src/metrics/products.ts";
export { FeatureFile, featureSet } from "./src/metrics/features.ts";
export type { FeatureSet } from "./src/metrics/features.ts";
export { pixelFeatures } from "./src/metrics/extractors.ts";
export type { FeatureExtractor } from "./src/metrics/extractors.ts";
export { OnnxFeatures } from "./src/metrics/onnx_features.ts";
export type { OnnxOptions, ValueRange } from "./src/metrics/onnx_features.ts";
export { DigitFeatures } from "./src/coopflow/digit_features.ts";
export { frechetInterval, kernelInterval, manifoldIntervals, resampled } from "./src/metrics/set_distances.ts";
export type { ManifoldIntervals, Resampled } from "./src/metrics/set_distances.ts";
export type { Interval } from "./src/metrics/bootstrap.ts";
export { readStatistics, writeStatistics } from "./src/metrics/statistics_file.ts";
export { bitsPerDim } from "./src/metrics/bits_per_dim.ts";
export { auroc } from "./src/metrics/auroc.ts";
export { imageGrid } from "./src/metrics/grid.ts";
export type { GridOptions, GridPanel } from "./src/metrics/grid.ts";
export { encodePng, writePng } from "./src/io/png.ts";
export type { Pixels } from "./src/io/png.ts";
export { encodeApng, writeApng } from "./src/io/apng.ts";
export type { AnimationOptions } from "./src/io/apng.ts";

// ---- densities of the plane

export { toy2d } from "./src/coopflow/toy2d/toy2d.ts";
export type { Toy2dOptions, Toy2dResult } from "./src/coopflow/toy2d/toy2d.ts";
export { toy2dPicture } from "./src/coopflow/toy2d/picture.ts";
export { densities, drawPoints } from "./src/coopflow/toy2d/densities.ts";
export type { DensityName, PlaneDensity } from "./src/coopflow/toy2d/densities.ts";
export type { Divergence } from "./src/coopflow/toy2d/evaluate.ts";

// ---- devices

export { buildInfo, Device } from "./src/runtime/device.ts";
export type { DeviceInfo, DeviceName, DeviceOptions, Isa, Precision } from "./src/runtime/device.ts";
export type { Execution, Profile, ProfileEntry } from "./src/runtime/program.ts";

// ---- errors

export {
  CancelledError,
  CheckpointError,
  ConfigError,
  CoopFlowError,
  DataError,
  NativeError,
  ShapeError,
  UsageError,
} from "./src/errors.ts";
