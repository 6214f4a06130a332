/** Blocks of bytes through pipes: four bytes of length, then that many. */

interface Source {
  readSync(into: Uint8Array): number | null;
}
interface Sink {
  writeSync(bytes: Uint8Array): number;
}

/** Reads until `into` is full; false at the end of the pipe. */
export function readFull(source: Source, into: Uint8Array): boolean {
  for (let at = 0; at < into.length;) {
    const got = source.readSync(into.subarray(at));
    if (got === null) return false;
    at += got;
  }
  return true;
}

/** The next block, or nothing at the end of the pipe. */
export function readFrame(source: Source): Uint8Array | undefined {
  const length = new Uint32Array(1);
  if (!readFull(source, new Uint8Array(length.buffer))) return undefined;
  const bytes = new Uint8Array(length[0]!);
  return readFull(source, bytes) ? bytes : undefined;
}

/** Writes a block. */
export function writeFrame(sink: Sink, bytes: Uint8Array): void {
  const all = new Uint8Array(4 + bytes.length);
  new DataView(all.buffer).setUint32(0, bytes.length, true);
  all.set(bytes, 4);
  for (let at = 0; at < all.length;) at += sink.writeSync(all.subarray(at));
}
