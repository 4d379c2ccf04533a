import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'

const Ready = z.object({ url: z.string() })

export type ServerProcess = AsyncDisposable & { readonly url: string }

/** Longest times until a process is ready, and until it has ended, milliseconds. */
const READY_MS = 60_000
const END_MS = 15_000

/**
 * Starts a module that sends its `url` to its parent once it listens, and ends on disconnect.
 * @throws if it ends, or is not ready in time
 */
export async function startProcess(
  module: URL,
  args: readonly string[] = [],
): Promise<ServerProcess> {
  const path = fileURLToPath(module)
  const child = fork(path, args)
  const exited = once(child, 'exit')
  const end = async (): Promise<void> => {
    if (child.connected) child.disconnect()
    const killTimer = setTimeout(() => child.kill('SIGKILL'), END_MS)
    await exited
    clearTimeout(killTimer)
  }
  const died = exited.then(([code]) => {
    throw new Error(`${path} stopped with code ${code}`)
  })
  try {
    const ready = once(child, 'message', { signal: AbortSignal.timeout(READY_MS) })
    const [message] = await Promise.race([ready, died])
    died.catch(() => {})
    return { url: Ready.parse(message).url, [Symbol.asyncDispose]: end }
  } catch (cause) {
    await end()
    throw new Error(`${path} could not be started`, { cause })
  }
}
