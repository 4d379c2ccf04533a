import { Worker } from 'node:worker_threads'
import { err, ok, type Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'
import { siblingModule } from '../../lib/package-files.ts'
import type { Parsed, ParserName, Plain } from './parse-thread.ts'

/** A report of ordinary size takes a second. One that takes this long is not read. */
const PARSE_WITHIN_MS = 30_000
const MAX_HEAP_MIB = 1024

/**
 * Reads the output of a tool in a separate thread with a limit of time and memory: a project controls its megabytes,
 * and other work must not wait for them. The error is for people. Never rejects.
 * @param texts the input of the parser
 * @param withinMs for tests
 */
export async function parseApart<Name extends ParserName>(
  name: Name,
  texts: readonly string[],
  signal: AbortSignal,
  withinMs = PARSE_WITHIN_MS,
): Promise<Result<Parsed<Name>, string>> {
  const worker = new Worker(siblingModule('parse-thread', import.meta.url), {
    workerData: { name, texts },
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
  })
  const { promise, resolve } = Promise.withResolvers<Result<Parsed<Name>, string>>()
  const timer = setTimeout(
    () => resolve(err(`reading it took more than ${withinMs / 1000} s`)),
    withinMs,
  )
  const onAbort = (): void => resolve(err('the run was stopped'))
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  worker.once('message', (parsed: Parsed<Name>) => resolve(ok(parsed)))
  worker.once('error', (cause) => resolve(err(messageOf(cause))))
  worker.once('exit', () => resolve(err('its thread ended')))
  const result = await promise
  clearTimeout(timer)
  signal.removeEventListener('abort', onAbort)
  void worker.terminate()
  return result
}

/** The result of a parser that may find its text unreadable. */
export const toResult = <T>(plain: Plain<T>): Result<T, string> =>
  'value' in plain ? ok(plain.value) : err(plain.problem)
