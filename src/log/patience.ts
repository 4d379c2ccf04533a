import { type Result, ResultAsync } from 'neverthrow'
import type { AppendError, EventStore, ReadError } from '../store/event-store.ts'

/** The part of a store that a decision needs: it reads what it decides on, and appends its records. */
export type StreamStore = Pick<EventStore, 'append' | 'readStream'>

/** What a caller does while its store is in trouble. */
export type Patience = {
  /**
   * Waits before the next attempt; false gives up.
   * @param failures attempts that failed before this one
   */
  readonly wait: (error: Trouble, failures: number) => Promise<boolean>
  /** Called when an attempt succeeds after others failed. */
  readonly onRecovery?: () => void
}

type Trouble = Extract<
  AppendError,
  { type: 'store_unavailable' | 'store_failed' | 'outcome_unknown' }
>

/**
 * The store for a caller with patience: it repeats what fails because the store is in trouble. It repeats an append
 * with the same ids. Once the outcome of an append is unknown, `outcome_unknown` is its only error.
 */
export function patientStore(store: StreamStore, patience: Patience): StreamStore {
  return {
    append: (...args) => new ResultAsync(patiently(() => store.append(...args), patience)),
    readStream: (...args) => new ResultAsync(patiently(() => store.readStream(...args), patience)),
  }
}

async function patiently<T, E extends AppendError | ReadError>(
  attempt: () => ResultAsync<T, E>,
  { wait, onRecovery }: Patience,
): Promise<Result<T, E>> {
  let unknown: Result<T, E> | null = null
  for (let failures = 0; ; failures += 1) {
    const result = await attempt()
    if (result.isOk()) {
      if (failures > 0) onRecovery?.()
      return result
    }
    const { error } = result
    if (error.type === 'outcome_unknown') unknown = result
    if (!isTrouble(error) || !(await wait(error, failures))) return unknown ?? result
  }
}

function isTrouble(error: AppendError | ReadError): error is Trouble {
  const { type } = error
  return type === 'store_unavailable' || type === 'store_failed' || type === 'outcome_unknown'
}
