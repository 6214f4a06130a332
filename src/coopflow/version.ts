/** The library's own version, which checkpoints and run directories name. */

/** Version of the library. */
export const LIBRARY_VERSION = "0.1.0";

/** Version of what a checkpoint holds and how. */
export const CHECKPOINT_FORMAT = "coopflow-checkpoint-1";
