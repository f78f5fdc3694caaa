// Preloaded (node --import) into the processes that start.mjs starts. They are in process groups of their own, so
// nothing would end them if start.mjs were killed with SIGKILL; the closing of the channel to it is the sign that
// always comes.
if (process.channel) {
  // The channel alone keeps no process running: a program that has finished its work still ends.
  process.channel.unref();
  process.once('disconnect', () => {
    // The pipes for output went with the parent; a log line written into them must not break the orderly end.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 30_000).unref();
  });
}
