/** Columns of text. */

/** A table's lines: the first column to the left, the others to the right, two spaces between. */
export function textTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [header, ...rows];
  const widths = header.map((_, k) => Math.max(...all.map((row) => row[k]?.length ?? 0)));
  const cell = (text: string, k: number): string => k === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[k]!);
  return all.map((row) => row.map(cell).join("  ").trimEnd());
}

/** The same table in Markdown. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map((_, k) => k === 0 ? "---" : "---:")), ...rows.map(line)];
}

/** The middle value, or the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle) - 1] ?? NaN)) / 2;
}
