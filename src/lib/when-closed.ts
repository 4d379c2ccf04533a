import type { Writable } from 'node:stream'

/**
 * Calls `listener` when a connection or an answer has closed: now, if it has closed already, because its event does not
 * come again.
 */
export function whenClosed(
  closing: Pick<Writable, 'destroyed' | 'on'>,
  listener: () => void,
): void {
  if (closing.destroyed) listener()
  // `once` would hold a wrapper until then.
  else closing.on('close', listener)
}
