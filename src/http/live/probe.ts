import { err, ok, type Result } from 'neverthrow'
import { commandProblem } from '../problems/command-problem.ts'
import type { Problem } from '../problems/problem.ts'
import { isEnd } from './entry.ts'
import { type PageDeps, readPage } from './page.ts'
import type { Wanted } from './run-pages.ts'

/** Whether the run has ended at the seq `after`, or why it cannot be read on from there. */
export async function probe(
  { runId, after, direction }: Pick<Wanted, 'runId' | 'after' | 'direction'>,
  deps: PageDeps,
): Promise<Result<{ readonly complete: boolean }, Problem>> {
  if (direction === 'backward') return exists(runId, deps)
  const [from, limit] = after === null || after < 0 ? [0, 1] : [after, 2]
  const read = await readPage(runId, { from, direction: 'forward', limit }, deps)
  if (read.isErr()) return err(commandProblem(read.error))
  const [at, next] = limit === 1 ? [null, ...read.value] : read.value
  if (at === undefined) {
    const message = `after=${after} is beyond the last record of this run.`
    const errors = [{ field: 'after', message }]
    return err({ code: 'invalid_request', detail: message, errors })
  }
  if (next?.type === 'damage') return err({ code: 'damaged_record', detail: damageOf(next) })
  return ok({ complete: at !== null && isEnd(at) })
}

async function exists(
  runId: string,
  deps: PageDeps,
): Promise<Result<{ readonly complete: boolean }, Problem>> {
  const read = await readPage(runId, { from: 0, direction: 'forward', limit: 1 }, deps)
  return read.map(() => ({ complete: false })).mapErr(commandProblem)
}

/** Tells a person of a record that cannot be read. */
export function damageOf({
  seq,
  message,
}: {
  readonly seq: number
  readonly message: string
}): string {
  return `Record ${seq} of this run cannot be read: ${message}. See the server's log.`
}
