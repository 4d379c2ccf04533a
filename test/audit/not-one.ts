import { gunzipSync, gzipSync } from 'node:zlib'

/** The bytes with one of them changed. */
export function flipped(content: Buffer, at: number, bits: number): Buffer {
  const changed = Buffer.from(content)
  changed.writeUInt8(changed.readUInt8(at) ^ bits, at)
  return changed
}

/** Ways in which an archive is not exactly one whole archive, although its parts are unchanged. */
export const NOT_ONE: Readonly<Record<string, (archive: Buffer) => Buffer>> = {
  'a byte after it': (it) => Buffer.concat([it, Buffer.from([0x1f])]),
  'a text after it': (it) => Buffer.concat([it, Buffer.from('after the end')]),
  'zeros after it': (it) => Buffer.concat([it, Buffer.alloc(700)]),
  'a zero after it': (it) => Buffer.concat([it, Buffer.alloc(1)]),
  'itself after it': (it) => Buffer.concat([it, it]),
  'nothing in another member after it': (it) => Buffer.concat([it, gzipSync('')]),
  'its checksum cut off': (it) => it.subarray(0, -8),
  'its checksum cut': (it) => it.subarray(0, -5),
  'its length cut': (it) => it.subarray(0, -1),
  'a wrong checksum': (it) => flipped(it, it.length - 6, 1),
  'a wrong length': (it) => flipped(it, it.length - 1, 1),
  'a comment in its gzip header': (it) => flipped(it, 3, 0x10),
  'a time in its gzip header': (it) => flipped(it, 5, 1),
  'its tar twice': (it) => withTar(it, (tar) => Buffer.concat([tar, tar])),
  'a block of zeros more': (it) => withTar(it, (tar) => Buffer.concat([tar, Buffer.alloc(512)])),
  'a byte after its tar': (it) => withTar(it, (tar) => Buffer.concat([tar, Buffer.from('x')])),
  'a block of zeros less': (it) => withTar(it, (tar) => tar.subarray(0, -512)),
  'its tar not closed': (it) => withTar(it, (tar) => tar.subarray(0, -1024)),
  'something in the padding of a part': (it) =>
    withTar(it, (tar) => flipped(tar, tar.indexOf('keys.json\0') - 1, 1)),
  'another owner in a header': (it) => withTar(it, (tar) => flipped(tar, 108 + 6, 1)),
}

const withTar = (archive: Buffer, change: (tar: Buffer) => Buffer): Buffer =>
  gzipSync(change(gunzipSync(archive)))
