/** A text of unknown origin for a message of one line: quoted, without line breaks, and not long. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
