import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type AgentEvent, createClient } from '../../src/client/index.ts'

export const CLI = fileURLToPath(new URL('../../src/cli/retrai.ts', import.meta.url))

/**
 * The environment of this test run without any setting of ours, and without what decides on colours,
 * so that neither a developer's own nor those of CI leak in.
 */
export const cleanEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) =>
        !/^(RETRAI_|(EVENTSTORE_URL|OLLAMA_HOST|CI|NO_COLOR|FORCE_COLOR)$)|_API_KEY$|_BASE_URL$/.test(
          name,
        ),
    ),
  )

export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Runs `retrai …` to its end. */
export function retrai(
  args: readonly string[],
  env: NodeJS.ProcessEnv = cleanEnv(),
): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/**
 * Watches a run to its end; resolves to all that was seen, in the order it came. Other than a person's
 * client, it takes a lost connection for a failure.
 */
export async function observe(
  baseUrl: string,
  runId: string,
  onEvent: (event: AgentEvent) => void = () => {},
): Promise<AgentEvent[]> {
  const lost = new AbortController()
  const seen: AgentEvent[] = []
  const watched = createClient({ baseUrl }).watch(runId, {
    signal: lost.signal,
    onState: (state) => {
      if (state === 'reconnecting') lost.abort(new Error('the connection was lost'))
    },
  })
  for await (const event of watched) {
    seen.push(event)
    onEvent(event)
  }
  return seen
}
