/** The size of an append to an event store, in bytes of data and metadata. */
export function appendBytes(
  events: readonly { readonly data: string; readonly metadata: string }[],
): number {
  let bytes = 0
  for (const { data, metadata } of events) {
    bytes += Buffer.byteLength(data) + Buffer.byteLength(metadata)
  }
  return bytes
}
