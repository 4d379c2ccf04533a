import { err, ok, type Result } from 'neverthrow'
import type { OpenCall, RunState } from '../domain/state.ts'
import { streamOf } from '../log/run-log.ts'
import type { EventStore } from '../store/event-store.ts'
import type { QueryError } from './query-error.ts'

type SeqAndCall = { readonly seq: number; readonly call: OpenCall }

/** How many records are looked through at once for the intent of a call under way. */
const LOOK_BACK = 8

/** The call that was under way, with the seq of its record: few others can stand behind that. */
export async function openCall(
  { runId, phase, seq }: RunState,
  { store }: { readonly store: Pick<EventStore, 'readStream'> },
): Promise<Result<SeqAndCall | null, QueryError>> {
  const call = phase.type === 'acting' ? phase.open : null
  if (call === null) return ok(null)
  for (let from = seq; from >= 0; from -= LOOK_BACK) {
    const options = { from, direction: 'backward', limit: LOOK_BACK } as const
    const page = await store.readStream(streamOf(runId), options)
    if (page.isErr()) return err(page.error)
    const found = page.value.find(({ type }) => type === 'tool_call')
    if (found !== undefined) return ok({ seq: found.revision, call })
  }
  return ok(null)
}
