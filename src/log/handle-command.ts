import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { RunCommand } from '../domain/commands.ts'
import { decide } from '../domain/decide.ts'
import type { RunError } from '../domain/errors.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { hashesSpokenOf } from './hashes-spoken-of.ts'
import { type Author, append, type LoadError, type LoadedRun, load, prepare } from './run-log.ts'

export type CommandError = RunError | AppendError | LoadError

/** How often a command is decided anew because somebody else wrote in between. */
const MAX_CONFLICTS = 50
/** How often an append whose answer was lost is made again to learn whether it is stored. */
const MAX_SETTLING = 3

/**
 * Folds the run (from `snapshot` on, where one is known), decides, and appends at exactly the revision
 * that the decision was made on. Decides again when another writer was faster.
 * @param now seconds since the epoch
 */
export function handleCommand(
  store: EventStore,
  runId: string,
  command: RunCommand,
  options: {
    readonly author: Author
    readonly now: () => number
    readonly snapshot?: LoadedRun | null
  },
): ResultAsync<LoadedRun, CommandError> {
  const attempt = async (): Promise<Result<LoadedRun, CommandError>> => {
    let known = options.snapshot ?? null
    for (let conflicts = 0; ; conflicts += 1) {
      const loaded = await load(store, runId, known)
      if (loaded.isErr()) return err(loaded.error)
      known = loaded.value
      const hashes = await hashesSpokenOf(store, command, known)
      if (hashes.isErr()) return err(hashes.error)
      const decided = decide(command, known?.state ?? null, options.now(), hashes.value)
      if (decided.isErr()) return err(decided.error)
      const appended = await settle(store, runId, known, decided.value, options.author)
      if (appended.isOk()) return ok(appended.value)
      const { type } = appended.error
      if (type !== 'wrong_expected_revision' || conflicts >= MAX_CONFLICTS)
        return err(appended.error)
    }
  }
  return new ResultAsync(attempt())
}

async function settle(
  store: EventStore,
  runId: string,
  known: LoadedRun | null,
  records: Parameters<typeof prepare>[2],
  author: Author,
): Promise<Result<LoadedRun, AppendError>> {
  const prepared = prepare(runId, known, records, author)
  for (let attempt = 1; ; attempt += 1) {
    const appended = await append(store, prepared)
    if (appended.isOk() || attempt >= MAX_SETTLING) return appended
    if (appended.error.type !== 'outcome_unknown') return appended
  }
}
