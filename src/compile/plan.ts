/** Memory planning: lifetimes in, offsets out. */

/** A temporary: its size and the first and last instruction that touch it (both included). */
export interface Lifetime {
  readonly size: number;
  readonly first: number;
  readonly last: number;
}

/** Offsets in the units of the sizes, and the arena's size. */
export interface Plan {
  readonly offsets: Float64Array;
  readonly total: number;
}

/** The least that any plan needs: the peak of what lives at once. */
export function peakLive(lifetimes: readonly Lifetime[]): number {
  const events = lifetimes.flatMap(({ size, first, last }) => [{ at: first, by: size }, { at: last + 1, by: -size }]);
  events.sort((a, b) => a.at - b.at || a.by - b.by);
  let live = 0, peak = 0;
  for (const { by } of events) {
    live += by;
    peak = Math.max(peak, live);
  }
  return peak;
}

/**
 * Places big temporaries first, each at the lowest offset free for its whole lifetime (greedy by size). Two temporaries that live at the same
 * time never overlap.
 */
export function planMemory(lifetimes: readonly Lifetime[]): Plan {
  const n = lifetimes.length;
  const order = Array.from({ length: n }, (_, i) => i);
  order.sort((a, b) => lifetimes[b]!.size - lifetimes[a]!.size || lifetimes[a]!.first - lifetimes[b]!.first);
  const offsets = new Float64Array(n);
  // Placed temporaries, kept sorted by offset, so that one sweep finds the gaps.
  const at = new Float64Array(n), end = new Float64Array(n), first = new Int32Array(n), last = new Int32Array(n);
  let placed = 0, total = 0;
  for (const i of order) {
    const life = lifetimes[i]!;
    let offset = 0;
    for (let k = 0; k < placed; k++) {
      if (last[k]! < life.first || first[k]! > life.last) continue;
      if (at[k]! >= offset + life.size) break;
      if (end[k]! > offset) offset = end[k]!;
    }
    offsets[i] = offset;
    let k = placed++;
    while (k > 0 && at[k - 1]! > offset) k--;
    for (const array of [at, end, first, last]) array.copyWithin(k + 1, k, placed - 1);
    at[k] = offset;
    end[k] = offset + life.size;
    first[k] = life.first;
    last[k] = life.last;
    total = Math.max(total, offset + life.size);
  }
  return { offsets, total };
}
