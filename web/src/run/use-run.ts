import { useMemo, useSyncExternalStore } from 'react'
import { type RunSnapshot, RunStore } from './run-store.ts'

/** The run as far as it has arrived; watches it while the component is there. */
export function useRun(runId: string): RunSnapshot {
  const store = useMemo(() => new RunStore(runId), [runId])
  return useSyncExternalStore(store.subscribe, store.getSnapshot)
}
