import { isDeepStrictEqual } from 'node:util'
import { err, ok, type Result } from 'neverthrow'
import type { OpenCall, RunState } from '../domain/state.ts'
import { streamOf } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import type { QueryError } from './run-history.ts'

/** A field of a run's details that changed. `field` is its path, such as `progress.iteration`. */
export type FieldChange = { readonly field: string; readonly old: unknown; readonly new: unknown }

type Fields = { readonly [name: string]: unknown }

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null

/** The differences between two objects of the same shape, in the order of their fields. */
export function fieldChanges(before: Fields, after: Fields, path = ''): FieldChange[] {
  return Object.keys(after).flatMap((name) => {
    const [old, now] = [before[name], after[name]]
    const field = `${path}${name}`
    if (Array.isArray(now)) {
      return isDeepStrictEqual(old, now) ? [] : [{ field, old, new: now }]
    }
    if (isFields(old) && isFields(now)) return fieldChanges(old, now, `${field}.`)
    return old === now ? [] : [{ field, old, new: now }]
  })
}

/** Records that are read at once. Few other records can follow that of an open call. */
const PAGE = 8

/** The call that was open in this state, with the seq of its record; null if none was. */
export async function openCall(
  { runId, phase, seq }: RunState,
  { store }: { readonly store: StreamReader },
): Promise<Result<{ readonly seq: number; readonly call: OpenCall } | null, QueryError>> {
  const call = phase.type === 'acting' ? phase.open : null
  if (call === null) return ok(null)
  for (let from = seq; from >= 0; from -= PAGE) {
    const options = { from, direction: 'backward', limit: PAGE } as const
    const page = await store.readStream(streamOf(runId), options)
    if (page.isErr()) return err(page.error)
    const found = page.value.find(({ type }) => type === 'tool_call')
    if (found !== undefined) return ok({ seq: found.revision, call })
  }
  return ok(null)
}
