import { once } from 'node:events'
import { chmod, link, lstat, mkdir, mkdtemp, rm, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { buildApp } from '../http/app.ts'
import { messageOf } from '../lib/message-of.ts'
import type { Settings } from './settings.ts'

/** Begins to listen; resolves to the address. The error is a text for people, with advice. */
export async function listen(
  app: Pick<Awaited<ReturnType<typeof buildApp>>, 'listen'>,
  { RETRAI_LISTEN: address }: Settings,
): Promise<Result<string, string>> {
  if ('socket' in address) return listenOnSocket(app, address.socket)
  const { host, port } = address
  return ResultAsync.fromPromise(
    app.listen({ host, port }),
    (cause) =>
      `Cannot listen on ${host}:${port}: ${messageOf(cause)}. Choose another port with --port (0 finds a free one), or an address of this machine with --host.`,
  )
}

type Listener = { listen(options: { readonly path: string }): Promise<unknown> }

/**
 * Begins to listen on a unix socket that only this user can open. A socket that nothing listens on is replaced; a file
 * of another kind or of another user is not. The error is a text for people, with advice.
 */
async function listenOnSocket(app: Listener, path: string): Promise<Result<string, string>> {
  const advice = 'Choose another path with RETRAI_LISTEN=unix:PATH.'
  try {
    const inTheWay = await clear(path)
    if (inTheWay !== null) return err(`${path} ${inTheWay}, so it is not replaced. ${advice}`)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await listenPrivately(app, path)
    return ok(`unix:${path}`)
  } catch (cause) {
    return err(`Cannot listen on ${path}: ${messageOf(cause)}. ${advice}`)
  }
}

/** Removes the socket, so that the next client does not find one that nobody listens on. Never rejects. */
export const removeSocket = (path: string): Promise<void> => unlink(path).catch(() => {})

/** Removes a socket that a killed server has left. Returns why something else stays. */
async function clear(path: string): Promise<string | null> {
  const found = await lstat(path).catch(() => null)
  if (found === null) return null
  const isLeft = found.isSocket() && found.uid === process.getuid?.() && !(await isListenedOn(path))
  if (isLeft) {
    await unlink(path)
    return null
  }
  if (!found.isSocket()) return 'is not a socket'
  return 'belongs to another user, or another program listens on it'
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
  const own = await mkdtemp(join(dirname(path), '.retrai-'))
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
