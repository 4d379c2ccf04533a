import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'

const Ready = z.object({ url: z.string() })

export type ServerProcess = AsyncDisposable & { readonly url: string }

/** Starts a module that sends its `url` to its parent once it listens, and ends on disconnect. */
export async function startProcess(
  module: URL,
  args: readonly string[] = [],
): Promise<ServerProcess> {
  const child = fork(fileURLToPath(module), args)
  const exited = once(child, 'exit')
  const died = exited.then(([code]) => {
    throw new Error(`${fileURLToPath(module)} stopped with code ${code}`)
  })
  const [message] = await Promise.race([once(child, 'message'), died])
  died.catch(() => {})
  return {
    url: Ready.parse(message).url,
    async [Symbol.asyncDispose]() {
      child.disconnect()
      await exited
    },
  }
}
