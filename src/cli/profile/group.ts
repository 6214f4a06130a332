/** Sums of a profile's instructions. */
import type { ProfileEntry } from "../../runtime/program.ts";

/** Instructions taken together. */
export interface Group {
  readonly name: string;
  readonly seconds: number;
  readonly calls: number;
  /** Of all calls, as is `bytes`. */
  readonly flops: number;
  readonly bytes: number;
}

/** What instructions without a scope are counted under. */
const UNNAMED = "(no layer)";

/** The layer of a scope: up to its first index. `langevin.ebm.f.2.conv1` → `langevin.ebm.f.2`; `adam.flow` stays. */
export function layerOf(scope: string): string {
  return /^.*?(?:^|\.)\d+(?=\.|$)/.exec(scope)?.[0] ?? (scope === "" ? UNNAMED : scope);
}

/** The kind of layer that a scope is: indices as `*`. `flow.flows.checkers.2.nn.mid_convs.0.attn` → `flow.flows.checkers.*.nn.mid_convs.*.attn`. */
export function kindOf(scope: string): string {
  return scope === "" ? UNNAMED : scope.split(".").map((part) => /^\d+$/.test(part) ? "*" : part).join(".");
}

/** Sums by key, the longest first. An instruction in a loop counts with all its calls; what never ran is left out. */
export function groupBy(entries: readonly ProfileEntry[], keyOf: (entry: ProfileEntry) => string): Group[] {
  const groups = new Map<string, Group>();
  for (const entry of entries) {
    const { calls, seconds, flops, bytes } = entry;
    if (calls === 0) continue;
    const name = keyOf(entry);
    const sum = groups.get(name) ?? { name, seconds: 0, calls: 0, flops: 0, bytes: 0 };
    groups.set(name, {
      name,
      seconds: sum.seconds + seconds,
      calls: sum.calls + calls,
      flops: sum.flops + flops * calls,
      bytes: sum.bytes + bytes * calls,
    });
  }
  return [...groups.values()].sort((a, b) => b.seconds - a.seconds);
}

/** All of a list as one. */
export function totalOf(groups: readonly Group[]): Group {
  const sum = (key: "seconds" | "calls" | "flops" | "bytes"): number => groups.reduce((t, group) => t + group[key], 0);
  return { name: "all", seconds: sum("seconds"), calls: sum("calls"), flops: sum("flops"), bytes: sum("bytes") };
}
