import { once } from 'node:events'
import { chmod, link, lstat, mkdir, mkdtemp, rm, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../lib/message-of.ts'

type Listener = { listen(options: { readonly path: string }): Promise<unknown> }

/** The longest path of a socket on Linux and macOS, in bytes, less what the folder for its making adds. */
const MAX_PATH_BYTES = 103
const OWN_FOLDER = '.retrai-'

/**
 * Begins to listen on a unix socket that only this user can open. A socket that nothing listens on is replaced; a file
 * of another kind or of another user is not. The error is a text for people, with advice.
 */
export async function listenOnSocket(app: Listener, path: string): Promise<Result<string, string>> {
  const folder = dirname(path)
  const longest = Math.max(
    Buffer.byteLength(path),
    Buffer.byteLength(folder) + OWN_FOLDER.length + 8,
  )
  if (longest > MAX_PATH_BYTES) {
    return err(
      `The path ${path} is too long for a unix socket. Choose a shorter one with --listen.`,
    )
  }
  try {
    const inTheWay = await clear(path)
    if (inTheWay !== null) return err(inTheWay)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await listenPrivately(app, path)
    return ok(`unix:${path}`)
  } catch (cause) {
    return err(`Cannot listen on ${path}: ${messageOf(cause)}`)
  }
}

/** Removes the socket, so that the next client does not find one that nobody listens on. Never rejects. */
export const removeSocket = (path: string): Promise<void> => unlink(path).catch(() => {})

/** Removes a socket that a killed server has left. Returns why something else stays. */
async function clear(path: string): Promise<string | null> {
  const found = await lstat(path).catch(() => null)
  if (found === null) return null
  if (!found.isSocket()) {
    return `${path} is not a socket, so it is not replaced. Remove it, or choose another path with --listen.`
  }
  if (found.uid !== process.getuid?.()) {
    return `${path} belongs to another user, so it is not replaced. Choose another path with --listen.`
  }
  if (await isListenedOn(path)) {
    return `Another program listens on ${path}. Stop it, or choose another path with --listen.`
  }
  await unlink(path)
  return null
}

async function isListenedOn(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** The umask decides who may open a new socket, so the socket is made in a folder that only this user can reach. */
async function listenPrivately(app: Listener, path: string): Promise<void> {
  const own = await mkdtemp(join(dirname(path), OWN_FOLDER))
  try {
    const socket = join(own, 's')
    await app.listen({ path: socket })
    await chmod(socket, 0o600)
    // Unlike a rename, this replaces nothing.
    await link(socket, path)
  } finally {
    await rm(own, { recursive: true, force: true })
  }
}
