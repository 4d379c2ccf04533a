import type { Result, ResultAsync } from 'neverthrow'
import type { Kind } from '../domain/records.ts'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { decode } from '../log/codec.ts'
import { handleCommand } from '../log/handle-command.ts'
import { streamOf } from '../log/run-log.ts'
import { eventAt } from '../log/stream-pages.ts'
import type { EventStore, ReadError, RecordedEvent } from '../store/event-store.ts'

type Deps = {
  readonly store: EventStore
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly newId: () => string
  readonly retryMs: PauseBoundsMs
  readonly signal: AbortSignal
  readonly log: Pick<Logger, 'info' | 'warn'>
}

/** Whether a run has ended, by the last record of its stream. */
const hasEnded = (store: EventStore, runId: string): ResultAsync<boolean, ReadError> =>
  eventAt(store, streamOf(runId), 'end').map((event) => event?.type === ('run_end' satisfies Kind))

/** The runs that must end with a run, by its last record. */
export function endingWith(event: RecordedEvent): readonly string[] {
  // Most runs have no sub-agents, and every run has an end.
  if (!event.data.includes('"subagents"')) return []
  const decoded = decode(event)
  if (decoded.isErr() || decoded.value.record.kind !== 'run_end') return []
  return decoded.value.record.payload.subagents ?? []
}

/** Aborts the run of a sub-agent whose parent has ended. Tries until that is recorded, or the run has ended anyway. */
export async function abortWithParent(runId: string, parentId: string, deps: Deps): Promise<void> {
  const { store, now, newId, log } = deps
  const over = new AbortController()
  const reason = `The run ${parentId}, whose agent started this one, has ended`
  const abort = async (): Promise<void> => {
    const author = { commandId: newId() }
    const command = { type: 'abort', reason } as const
    const aborted = await handleCommand(store, runId, command, { author, now })
    if (aborted.isErr() && CAN_CHANGE.has(aborted.error.type)) throw new Error(aborted.error.type)
    if (aborted.isOk()) log.info({ run_id: runId, parent: parentId }, 'run aborted with its parent')
    over.abort()
  }
  const onFailure = (err: unknown): void =>
    log.warn({ run_id: runId, err }, 'the run of a sub-agent cannot be aborted: retrying')
  const signal = AbortSignal.any([deps.signal, over.signal])
  await keepRunning(abort, { ...deps, signal, onFailure })
}

/** Aborts the run of a sub-agent if its parent has ended, and returns whether it has. */
export async function endWithParent(
  runId: string,
  parentId: string,
  deps: Deps,
): Promise<Result<boolean, ReadError>> {
  const ended = await hasEnded(deps.store, parentId)
  if (ended.isOk() && ended.value) await abortWithParent(runId, parentId, deps)
  return ended
}

const CAN_CHANGE: ReadonlySet<string> = new Set([
  ...(['store_unavailable', 'store_failed', 'outcome_unknown', 'wrong_expected_revision'] as const),
])
