import { createHash } from 'node:crypto'
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import { objectId } from '../../lib/git-objects.ts'

/** A path as the file system takes it. */
export const diskPath = (bytes: string): string | Buffer =>
  /^[ -~]*$/.test(bytes) ? bytes : Buffer.from(bytes, 'latin1')

/** What changes with a file or its content. */
export type State = Readonly<
  Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs' | 'mode'>
>

export const isSame = (a: State, b: State): boolean =>
  a.ctimeNs === b.ctimeNs &&
  a.mtimeNs === b.mtimeNs &&
  a.size === b.size &&
  a.ino === b.ino &&
  a.dev === b.dev &&
  a.mode === b.mode

/** What distinguishes a state from later ones, without the rest of the stats. */
export const stateOf = ({ ctimeNs, mtimeNs, size, ino, dev, mode }: BigIntStats): State => ({
  ctimeNs,
  mtimeNs,
  size,
  ino,
  dev,
  mode,
})

/** Clocks of file systems are coarse: of two changes within this time, the second may leave the same times. */
const RACY_MS = 2_000

/** Whether a file that is changed after this moment must have other times than these. */
export const isSettled = ({ ctimeMs, mtimeMs }: BigIntStats, momentMs: number): boolean =>
  Number(ctimeMs) < momentMs - RACY_MS && Number(mtimeMs) < momentMs - RACY_MS

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
/** What is read at once. A buffer for each file would take more time than its bytes. */
const SHARED = Buffer.allocUnsafeSlow(256 * 1024)

/**
 * Reads the whole file that had this state. False if it has another one afterwards, so that what was read is of neither.
 * @param roomAt where the bytes from this place on are read to, or some of them
 */
function readAll(
  path: string,
  state: State,
  roomAt: (at: number) => Buffer,
  use: (chunk: Buffer) => unknown = () => {},
): boolean {
  const file = openSync(diskPath(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const size = Number(state.size)
    for (let at = 0; at < size; ) {
      const room = roomAt(at)
      const read = readSync(file, room, 0, Math.min(room.length, size - at), at)
      if (read === 0) return false
      use(room.subarray(0, read))
      at += read
    }
    return isSame(fstatSync(file, { bigint: true }), state)
  } finally {
    closeSync(file)
  }
}

/** Null if the file changed while it was read. What is read next takes its place. */
export function contentIn(path: string, state: State): Buffer | null {
  const size = Number(state.size)
  const content = size > SHARED.length ? Buffer.allocUnsafe(size) : SHARED.subarray(0, size)
  return readAll(path, state, (at) => content.subarray(at)) ? content : null
}

/** Sparse files have any size. More than this is not read. */
export const MAX_HASHED_BYTES = 1024 * 1024 * 1024

/** The SHA-256 (hex) of a prefix and the content, which is never whole in memory; null if the file changed meanwhile. */
export function hashIn(path: string, state: State, prefix = ''): string | null {
  const hash = createHash('sha256').update(prefix)
  return readAll(
    path,
    state,
    () => SHARED,
    (chunk) => hash.update(chunk),
  )
    ? hash.digest('hex')
    : null
}

/** The mode of a regular file in a tree. */
export const fileMode = ({ mode }: Pick<BigIntStats, 'mode'>): '100644' | '100755' =>
  (mode & 0o100n) === 0n ? '100644' : '100755'

/** What a tree has of a link, and its target. */
export function linkAt(path: string | Buffer) {
  const content = readlinkSync(path, { encoding: 'buffer' })
  return { link: { mode: '120000', id: objectId('blob', content) } as const, content }
}

/** Names of files that hold passwords, tokens or private keys, and hardly anything else. */
const SECRET =
  /^(?:\.env(?:\..*)?|.*\.(?:pem|key)|id_(?:rsa|ed25519|ecdsa).*|\.netrc|\.pypirc|credentials.*\.json)$/
const NO_SECRET = /^(?:\.env\.(?:example|sample|template)|id_.*\.pub)$/

export const isSecret = (name: string): boolean => SECRET.test(name) && !NO_SECRET.test(name)

/** The settings of npm are a secret only if there is a token or a password in them. */
const NPM_SECRET = /^[^#;\n]*_(?:auth|authToken|password)[ \t]*=[ \t]*(?!\$\{|[ \t\r\n])/m

export const holdsSecret = (name: string, content: Buffer): boolean =>
  name === '.npmrc' && NPM_SECRET.test(content.toString('latin1'))
