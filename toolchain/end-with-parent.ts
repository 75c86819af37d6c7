/**
 * Ends this process in order (SIGTERM) when the process that started it is gone, even by SIGKILL: orphans would keep the
 * port and go on with settings nobody set. Known by the IPC channel the parent opened; without one nothing is done.
 */
export function endWithParent(): void {
  if (process.channel === undefined) return;
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // The listener alone would keep this process running for ever.
  process.channel?.unref();
}
