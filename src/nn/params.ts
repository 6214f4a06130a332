/** Parameters of a model: named states of a graph, and how each begins. */
import { ShapeError } from "../errors.ts";
import { state } from "../graph/build.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { formatShape, sameShape, type Shape } from "../graph/shape.ts";
import type { Initializer, Uniforms } from "./initializers.ts";

/**
 * What a state is: `gain` = a weight norm's `weight_g` (it has a weight decay and a clip group of its own); `weight` = every other trained
 * parameter; `buffer` = stored with the model, not trained; `moment` = of the optimizer; `average` = a moving average of a parameter.
 */
export type ParamKind = "gain" | "weight" | "buffer" | "moment" | "average";

/** A state that a host must create before a program runs. */
export interface ParamSpec {
  /** The state's name: prefix and the reference's state-dict name. */
  readonly name: string;
  readonly shape: Shape;
  readonly kind: ParamKind;
  /** Whether an optimizer moves it. */
  readonly trainable: boolean;
  /** Its first value: a pure function of the seed and the name, whichever way `draw` makes the draws. */
  init(seed: number, draw?: Uniforms): Float32Array;
}

/** A spec and the tensor that holds it in one graph. */
export interface Param {
  readonly spec: ParamSpec;
  readonly value: Value;
}

/** Prefix of averaged copies; `ema.flow.x` starts as, and averages, `flow.x`. */
export const AVERAGE_PREFIX = "ema.";

/**
 * Declares a model's states in one graph. Layers receive a scope each; the root knows all, in the order of declaration, which is the
 * reference's module order (its numbering of optimizer state depends on it).
 */
export class Params {
  readonly graph: Graph;
  /** State names in this scope begin with it: `flow.flows.checkers.0.`. */
  readonly prefix: string;
  readonly #local: string;
  readonly #entries: Map<string, Param>;

  /** @param prefix of the model's states: `flow.`, `ebm.`, `ema.flow.` */
  constructor(graph: Graph, prefix: string, inherited?: { local: string; entries: Map<string, Param> }) {
    this.graph = graph;
    this.prefix = prefix;
    this.#local = inherited?.local ?? prefix.replace(/\.$/, "");
    this.#entries = inherited?.entries ?? new Map();
  }

  /** The scope `name` inside this one. */
  scope(name: string): Params {
    return new Params(this.graph, `${this.prefix}${name}.`, { local: name, entries: this.#entries });
  }

  /** Runs `body` with this scope's own name appended to the graph's layer path; callers are inside the parent scope. */
  enter<T>(body: () => T): T {
    return this.graph.scoped(this.#local, body);
  }

  /** Name of a random draw of this scope; averaged copies draw what the live model draws. */
  stream(name: string): string {
    return this.#live(`${this.prefix}${name}`);
  }

  /**
   * Declares a state and returns it.
   *
   * @throws {ShapeError} if the name is taken by another shape
   */
  param(name: string, shape: Shape, init: Initializer, kind: ParamKind = "weight"): Value {
    const full = `${this.prefix}${name}`;
    const known = this.#entries.get(full);
    if (known) {
      if (sameShape(known.spec.shape, shape)) return known.value;
      throw new ShapeError(
        `parameter "${full}": expected ${formatShape(known.spec.shape)} as declared before, found ${
          formatShape(shape)
        }`,
      );
    }
    const stream = `init/${this.#live(full)}`;
    const trainable = kind === "gain" || kind === "weight";
    const spec: ParamSpec = { name: full, shape, kind, trainable, init: (seed, draw) => init(seed, stream, draw) };
    const value = this.graph.scoped(this.prefix.replace(/\.$/, ""), () => state(this.graph, full, shape));
    this.#entries.set(full, { spec, value });
    return value;
  }

  /** All states of the model, whichever scope is asked. */
  get all(): readonly Param[] {
    return [...this.#entries.values()];
  }

  /** Specs of all states of the model. */
  get specs(): readonly ParamSpec[] {
    return this.all.map((p) => p.spec);
  }

  /** The trained ones among {@linkcode all}. */
  get trainable(): readonly Param[] {
    return this.all.filter((p) => p.spec.trainable);
  }

  #live(name: string): string {
    return name.startsWith(AVERAGE_PREFIX) ? name.slice(AVERAGE_PREFIX.length) : name;
  }
}
