/**
 * Runs `body` while no other process is inside `withFileLock` of the same path. The operating system drops the lock when
 * a process ends, however it ends, so nothing is ever left locked.
 *
 * @param onWait called once when another process holds the lock
 */
export async function withFileLock<T>(path: string, onWait: () => void, body: () => Promise<T>): Promise<T> {
  using file = await Deno.open(path, { create: true, write: true });
  const timer = setTimeout(onWait, 300);
  try {
    await file.lock(true);
  } finally {
    clearTimeout(timer);
  }
  return await body();
}
