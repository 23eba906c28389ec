/** For people, so not a log line; on stderr, so that stdout holds log lines only. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Why the process cannot start, in words for who started it. */
export function explain(error: NodeJS.ErrnoException & { address?: string; port?: number }): string {
  const { code, address, port, path, message } = error;
  if (code === 'EADDRINUSE')
    return `port ${port} of ${address} is in use; set PORT to another one, or to 0 for a free one`;
  if (code === 'EADDRNOTAVAIL') return `this machine has no address ${address}; set HOST to one that it has`;
  if (code === 'EACCES' && port) return `port ${port} needs more rights than this process has; set PORT to another one`;
  if ((code === 'EACCES' || code === 'EROFS') && path)
    return `${path} cannot be written; set DATA_DIR to a folder that can`;
  return message;
}
