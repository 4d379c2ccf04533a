import { err, ok, type Result } from 'neverthrow'
import type { Redacted } from '../../client/index.ts'

export type RedactWhat = {
  readonly seq: number
  readonly pointer: string
  readonly reason: string
  readonly secret: string | undefined
}

/** What was done at one record, and where the text is left standing for good. */
export type Carried = {
  readonly seq: number
  readonly answer: Redacted
  readonly left: Redacted['elsewhere']
}

type Ask = (what: RedactWhat) => PromiseLike<Result<Redacted, string>>

/**
 * Takes a text out of one record and, with `everywhere`, out of all others of the run that its answer names.
 * Ends at the first request that is refused: what was done until then is done, and may be asked for again.
 */
export async function* redactAll(
  ask: Ask,
  what: RedactWhat,
  everywhere: boolean,
): AsyncGenerator<Result<Carried, string>> {
  const first = await ask(what)
  if (first.isErr()) return yield err(first.error)
  const { elsewhere } = first.value
  const next = everywhere ? elsewhere.filter(({ redactable }) => redactable) : []
  const left = elsewhere.filter((place) => !next.includes(place))
  yield ok({ seq: what.seq, answer: first.value, left })
  for (const { seq, pointer } of next) {
    const done = await ask({ ...what, seq, pointer })
    if (done.isErr()) {
      return yield err(`Record ${seq}, ${pointer}: ${done.error} Then give the command again.`)
    }
    yield ok({ seq, answer: done.value, left: [] })
  }
}
