/** What learning tells of itself as it goes. */
import type { DeviceInfo } from "../runtime/device.ts";
import type { Profile } from "../runtime/program.ts";
import type { Measured } from "./metric_names.ts";

/** Numbers of one learning iteration. Norms are those before clipping. NaN: the phase of training has no such thing. */
export interface IterationMetrics {
  /** −mean log q(x̃) of the revised images under the flow, in nats per image. */
  readonly flowNll: number;
  /** The same in bits per dimension. */
  readonly bitsPerDim: number;
  readonly flowNorm: number;
  /** Mean f of the flow's proposals. */
  readonly fProposal: number;
  /** Mean f of the revised images. */
  readonly fRevised: number;
  /** Mean f of the data. */
  readonly fData: number;
  /** mean f(x̃) − mean f(data). */
  readonly ebmLoss: number;
  /** α·(mean f(x̃)² + mean f(data)²), which the EBM's loss has beside it; with `training.ebm.magnitude` only. */
  readonly ebmMagnitude?: number;
  readonly ebmNorm: number;
  /** Root mean square of x̃ − x̂: how far the chain moves the proposals. */
  readonly change: number;
  /** Share of the chains' moves that were accepted; with Metropolis adjustment only. */
  readonly acceptance?: number;
  /** Whether the flow was updated. */
  readonly flowUpdated: boolean;
  /** Whether the EBM was updated. */
  readonly ebmUpdated: boolean;
  readonly flowLr: number;
  readonly ebmLr: number;
}

/** Before the first iteration, once the model is ready to learn. */
export interface SetUpEvent {
  readonly type: "set-up";
  readonly device: DeviceInfo;
  /** Trained numbers of both networks. */
  readonly parameters: number;
  /** Iterations that are already complete. */
  readonly iteration: number;
  /** Iterations in all when learning is done. */
  readonly iterations: number;
  /** Images that the activation norms were initialised from just now; 0 if they were before. */
  readonly initialisedFrom: number;
  readonly seconds: number;
}

/** After each iteration; the model's state is that of a complete iteration while this event is handled. */
export interface IterationEvent {
  readonly type: "iteration";
  /** Iterations that are complete, this one included. */
  readonly iteration: number;
  readonly iterations: number;
  readonly seconds: number;
  /**
   * Seconds that reading the batch took. All but the first are read while the native call before them runs, so this is the most that learning can have
   * waited for data.
   */
  readonly dataSeconds: number;
  readonly metrics: IterationMetrics;
}

/** What goes wrong in learning. */
export type WarningKind = "not-finite" | "energy-gap" | "change" | "skipped";

/** Learning goes wrong; told once, after the iteration in which that began. */
export interface WarningEvent {
  readonly type: "warning";
  readonly kind: WarningKind;
  readonly iteration: number;
  readonly message: string;
  /** What to try. */
  readonly advice: string;
}

/** When all iterations are done. */
export interface FinishedEvent {
  readonly type: "finished";
  readonly iteration: number;
}

/** Where the time of some iterations went, when asked for. */
export interface ProfileEvent {
  readonly type: "profile";
  /** Iterations that were measured. */
  readonly iterations: number;
  readonly profile: Profile;
}

/** What {@linkcode CoopFlow.fit} yields. */
export type FitEvent = SetUpEvent | IterationEvent | WarningEvent | ProfileEvent | FinishedEvent;

/** A checkpoint was written. */
export interface CheckpointEvent {
  readonly type: "checkpoint";
  readonly iteration: number;
  readonly path: string;
}

/** A picture of data, proposals and revised images was written. */
export interface SamplesEvent {
  readonly type: "samples";
  readonly iteration: number;
  readonly path: string;
}

/** A model was measured on held-out images, as the configuration's `training.best` says. */
export interface MeasurementEvent {
  readonly type: "measurement";
  readonly iteration: number;
  readonly metric: Measured;
  readonly value: number;
  /** Whether there was none as good before. */
  readonly isBest: boolean;
}

/** Something worth knowing that is no failure. */
export interface NoticeEvent {
  readonly type: "notice";
  readonly message: string;
}

/** How good the samples of a finished run are. */
export interface Report {
  /** Images of each kind that were measured. */
  readonly count: number;
  /** Held-out images that they were compared with. */
  readonly heldout: number;
  /** Fréchet distances of raw pixels in [0, 1]. */
  readonly frechet: { readonly noise: number; readonly proposals: number; readonly revised: number };
  /** Mean bits per dimension of held-out images under the flow. */
  readonly bitsPerDim: number;
}

/** The measurements at the end of a run. */
export interface ReportEvent {
  readonly type: "report";
  readonly report: Report;
}

/** What a run in a directory yields. */
export type TrainEvent = FitEvent | CheckpointEvent | SamplesEvent | NoticeEvent | MeasurementEvent | ReportEvent;
