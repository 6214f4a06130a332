/** What the system counted as a process's largest resident memory (VmHWM) in MB, read every 20 ms until `child` ends. */
export async function peakMegabytes(child: Deno.ChildProcess): Promise<number> {
  let megabytes = 0;
  const timer = setInterval(() => {
    try {
      const status = Deno.readTextFileSync(`/proc/${child.pid}/status`);
      megabytes = Math.max(megabytes, Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      // It has ended.
    }
  }, 20);
  await child.status;
  clearInterval(timer);
  return megabytes;
}
